// Reads beside a stream of events: an answer may be older than an event that came while it was on its way.

/** @import { HubEvent } from "../types.js" */

export class EventReplay {
  /** @param {(event: HubEvent) => void} apply */
  constructor(apply) {
    this._apply = apply;
    /** @type {Set<HubEvent[]>} per read under way, the events that came meanwhile */
    this._reads = new Set();
  }

  /** Keep an event that has been applied for the reads under way. @param {HubEvent} event */
  record(event) {
    for (const meanwhile of this._reads) meanwhile.push(event);
  }

  /**
   * Do a read and apply its answer, then once more the events that came meanwhile.
   * @template Answer
   * @param {() => Promise<Answer>} request
   * @param {(answer: Answer) => void} apply
   */
  async read(request, apply) {
    /** @type {HubEvent[]} */
    const meanwhile = [];
    this._reads.add(meanwhile);
    try {
      const answer = await request();
      apply(answer);
      for (const event of meanwhile) this._apply(event);
      return answer;
    } finally {
      this._reads.delete(meanwhile);
    }
  }
}
