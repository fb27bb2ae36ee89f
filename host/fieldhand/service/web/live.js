// The live stream, which comes back by itself and says how it is.

// The service says something at least every 15 s; without for so long the stream is dead.
const SILENT_MS = 40_000;
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 30_000;
const KINDS = ["reading", "status", "alert", "event", "reply", "command", "agronomy_analysis"];

/**
 * Events: "change" when `state` does ("connecting", "live", "lost"), "back" when it is live again
 * after it was lost, and "live" with {kind, data} as its detail.
 */
export class Live extends EventTarget {
  constructor() {
    super();
    this.state = "connecting";
    this.retryAt = 0;
    this._source = null;
    this._node = undefined;
    this._wait = RETRY_MIN_MS;
    this._timer = 0;
    this._watch = 0;
    this._wasLost = false;
    addEventListener("online", () => this._node !== undefined && this.state === "lost" && this._open());
    // A tab that slept may hold a stream that is long dead.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.state === "lost") this._open();
    });
  }

  /** Listen to one node, or with null to all. */
  listen(node) {
    if (this._node === node && this._source) return;
    this._node = node;
    this._wait = RETRY_MIN_MS;
    this._open();
  }

  stop() {
    this._node = undefined;
    this._close();
  }

  _open() {
    this._close();
    const words = new URLSearchParams({ state: "false" });
    if (this._node) words.set("node", this._node);
    const source = new EventSource(`live?${words}`);
    this._source = source;
    if (this.state !== "lost") this._become("connecting");
    source.onopen = () => {
      this._wait = RETRY_MIN_MS;
      this._heard();
      this._become("live");
      if (this._wasLost) {
        this._wasLost = false;
        this.dispatchEvent(new Event("back"));
      }
    };
    source.onerror = () => this._lost();
    source.addEventListener("ping", () => this._heard());
    source.addEventListener("dropped", () => this._lost());
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        this._heard();
        this.dispatchEvent(new CustomEvent("live", { detail: { kind, data: JSON.parse(event.data) } }));
      });
    }
    this._heard();
  }

  _heard() {
    clearTimeout(this._watch);
    this._watch = setTimeout(() => this._lost(), SILENT_MS);
  }

  _lost() {
    this._close();
    this._wasLost = true;
    // Not all browsers at once when the service is back.
    const wait = this._wait * (0.5 + Math.random() / 2);
    this._wait = Math.min(this._wait * 2, RETRY_MAX_MS);
    this.retryAt = Date.now() + wait;
    this._become("lost");
    this._timer = setTimeout(() => this._open(), wait);
  }

  _close() {
    clearTimeout(this._timer);
    clearTimeout(this._watch);
    this._source?.close();
    this._source = null;
  }

  _become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
