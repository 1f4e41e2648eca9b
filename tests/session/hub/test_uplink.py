"""What a session says of records that its hub does not store."""

from twisted.internet.defer import Deferred

from hapi.net.client.delivery import DeliveryStatus, UnconfirmedEvent

FULL = {"message": "cannot store", "code": "store-full"}


def said(up):
    changes = []
    up.session.hub.on_delivery_problem = changes.append
    return changes


def test_a_hub_that_cannot_store_is_mentioned_once_until_it_confirms_again(up):
    changes = said(up)
    before = dict(up.link.metadata)
    for _ in range(5):
        up.link.deliver("error", FULL)
    assert changes == [
        "The hub does not store this session's records at the moment: the hub's disk is full"
    ]
    assert up.link.metadata == before
    up.link.delivery_confirmed()
    assert changes[1:] == [None]


def test_another_error_of_the_hub_is_no_problem_of_the_delivery(up):
    changes = said(up)
    up.link.deliver("error", {"code": "not-found"})
    up.link.deliver("error", "what")
    up.link.deliver("error")
    assert changes == []


def test_a_hub_that_confirms_nothing_is_mentioned(up):
    changes = said(up)
    up.link.delivery_status = DeliveryStatus(stalled_since=7.0)
    up.link.delivery_changed()
    up.link.delivery_status = DeliveryStatus()
    up.link.delivery_changed()
    assert changes == [
        "The hub is connected but does not confirm this session's records",
        None,
    ]


def test_lost_records_are_mentioned_in_the_conversation_once(up):
    up.link.delivery_status = DeliveryStatus(dropped=3)
    up.link.delivery_confirmed()
    up.link.delivery_confirmed()
    found = [record["message"] for record in up.link.records if "missing here" in str(record)]
    (sentence,) = found
    assert sentence.startswith("3 records of this session are missing here: the hub did not")


def test_a_comparison_that_is_repeated_reads_the_same_rows_again(up):
    """The first one may have been cut off before its result was used."""
    content = {"role": "agent", "content": {"type": "codex", "data": {"type": "x", "id": "1"}}}
    event = UnconfirmedEvent("message", ({"sid": up.session.hub.session_id, "message": content},))
    up.rows.append({"seq": 1, "content": content})
    for _ in range(2):
        found = []
        Deferred.fromCoroutine(up.link.review([event])).addCallback(found.extend)
        assert found == []
    up.link.delivery_confirmed()
    found = []
    Deferred.fromCoroutine(up.link.review([event])).addCallback(found.extend)
    assert found == [event]
    assert up.asked_rows == [0, 0, 1]
