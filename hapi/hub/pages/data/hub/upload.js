// Uploading a file to a session. XMLHttpRequest tells how far it is, which fetch() does not.

import { withBase } from "../../lib/base-path.js";
import { problemOf, statusOf, Unreachable } from "../../lib/errors.js";
import { t } from "../../lib/language.js";

/** @import { Api } from "./api.js" */

const UPLOAD_TIMEOUT = 600_000; // ms; 32 MB take a while over a mobile network

/**
 * @typedef {object} UploadOptions
 * @property {(fraction: number) => void} onProgress how much of it the hub has received, 0 to 1
 * @property {AbortSignal} signal
 */

/**
 * The path of the file on the session's machine. Throws ApiError or Unreachable, an Error with the session's reason, and
 * what `signal` is aborted with.
 * @param {Pick<Api, "jwt" | "sessionAddress">} api
 * @param {string} sessionId
 * @param {File} file
 * @param {UploadOptions} options
 * @returns {Promise<string>}
 */
export async function uploadFile(api, sessionId, file, options) {
  const body = await uploadBody(file);
  const address = withBase(`${api.sessionAddress(sessionId)}/upload`);
  /** @type {string | null} */
  let refused = null;
  for (;;) {
    const jwt = await api.jwt(refused);
    const response = await post(address, body, jwt, options);
    if (response.ok) return pathOf(await response.json());
    const problem = await problemOf(response);
    if (statusOf(problem) !== 401 || refused !== null) throw problem;
    refused = jwt;
  }
}

/** @param {{ success?: boolean, path?: string, error?: string }} answer */
function pathOf({ success, path, error }) {
  if (!success || !path) throw new Error(error || t("The session did not take it."));
  return path;
}

/** The name under which a file is attached. @param {File} file */
export function fileName(file) {
  return file.name || "file";
}

/** @param {File} file */
export function mediaType(file) {
  return file.type || "application/octet-stream";
}

/** The JSON of the request, without one more copy of the content as text. @param {File} file */
async function uploadBody(file) {
  const fields = { filename: fileName(file), mimeType: mediaType(file), content: "" };
  const json = JSON.stringify(fields);
  return new Blob([json.slice(0, -2), await base64Of(file), '"}'], { type: "application/json" });
}

/** @param {File} file @returns {Promise<string>} */
function base64Of(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(new Error(t("The file cannot be read.")));
    reader.readAsDataURL(file);
  });
}

/**
 * @param {string} address
 * @param {Blob} body
 * @param {string} jwt
 * @param {UploadOptions} options
 * @returns {Promise<Response>}
 */
function post(address, body, jwt, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.timeout = UPLOAD_TIMEOUT;
    request.setRequestHeader("Authorization", `Bearer ${jwt}`);
    request.setRequestHeader("Content-Type", "application/json");
    request.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    request.onload = () => resolve(responseOf(request));
    request.onerror = () => reject(new Unreachable());
    request.ontimeout = () => reject(new Unreachable());
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** @param {XMLHttpRequest} request */
function responseOf(request) {
  const headers = new Headers();
  for (const name of ["Retry-After", "X-Request-Id"]) {
    const value = request.getResponseHeader(name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(request.responseText, { status: request.status, headers });
}
