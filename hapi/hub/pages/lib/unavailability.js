// Why an agent cannot be started.

import { ownValue } from "./format.js";
import { t } from "./language.js";

/** @type {Record<string, string>} */
const UNAVAILABLE = {
  not_found: t("not installed on this machine"),
  invalid_configuration: t("invalid configuration on this machine"),
};

/**
 * Why an agent can't be started, from the code that its machine reports.
 * @param {string | undefined} reason
 */
export function unavailableReason(reason) {
  return ownValue(UNAVAILABLE, reason) ?? reason ?? t("not available");
}
