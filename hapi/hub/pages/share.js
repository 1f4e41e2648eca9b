// The start of a shared conversation's page. It has no token and reads none: the address is all that it has.

import { SharedConversation } from "./data/records/shared.js";
import { fill } from "./lib/dom.js";
import { withoutBase } from "./lib/base-path.js";
import { sharedView } from "./views/share/share.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const secret = withoutBase(location.pathname).split("/")[2] ?? "";
const view = sharedView(new SharedConversation(secret));
fill(root, view.node);
view.start();
