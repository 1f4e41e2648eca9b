// Why an agent cannot be started.

import { ownValue } from "../../lib/format.js";
import { t } from "../../lib/language.js";

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
