// The service's REST interface. Paths are relative: a proxy may put it anywhere.

let csrf = null;

/** The service said no; `message` is its one line, `status` the HTTP status, 0 without a network. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function call(method, path, body) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (csrf) headers["X-CSRF-Token"] = csrf;
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError("The service cannot be reached.", 0);
  }
  if (answer.status === 204) return null;
  const found = await answer.json().catch(() => null);
  if (!answer.ok) {
    if (answer.status === 401 && path !== "login") dispatchEvent(new Event("login-needed"));
    throw new ApiError(reason(found) ?? `${answer.status} ${answer.statusText}`, answer.status);
  }
  return found;
}

function reason(problem) {
  if (typeof problem?.detail !== "string") return null;
  const fields = (problem.errors ?? []).map((one) => `${one.field} ${one.reason}`);
  return [problem.detail, ...fields].join("; ");
}

/** GET; `query` values that are null are left out. */
export function get(path, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined) words.append(name, one);
    }
  }
  return call("GET", words.size ? `${path}?${words}` : path);
}

export const post = (path, body) => call("POST", path, body ?? {});

/** A node's path: its id may have any character. */
export const nodePath = (id, rest = "") => `nodes/${encodeURIComponent(id)}${rest}`;

/** Who one is; null where one has to log in. */
export async function whoAmI() {
  try {
    const me = await get("me");
    csrf = me.csrf;
    return me;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

export async function logIn(name, password) {
  const me = await post("login", { name, password });
  csrf = me.csrf;
  return me;
}

export async function logOut() {
  await post("logout");
  csrf = null;
}
