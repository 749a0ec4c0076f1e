/** The server: requests over a websocket that comes back by itself, and files over HTTP. */

import { language } from "./words.js";

const RETRY_MS = [300, 600, 1200, 2500, 5000];

export class Connection {
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.waiting = new Map();
    this.count = 0;
    this.tries = 0;
  }

  /** Open the session of a name; `onState` hears connecting, open, lost or gone. */
  open(session) {
    this.session = session;
    this.onState("connecting");
    const address = new URL(`/sessions/${session}/socket`, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onmessage = (event) => this.take(JSON.parse(event.data));
    socket.onopen = () => { this.tries = 0; this.onState("open"); };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      for (const [, fail] of this.waiting.values()) fail(new Error("lost"));
      this.waiting.clear();
      if (event.code === 4404 || this.ended) return this.onState("gone");
      this.onState("lost");
      setTimeout(() => this.open(session), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    };
  }

  take(message) {
    if (message.event !== "answer") return this.onEvent(message);
    const [answer] = this.waiting.get(message.request) ?? [];
    this.waiting.delete(message.request);
    answer?.(message);
  }

  /** Ask for something; the answer may have a `problem`. */
  ask(what, values = {}) {
    return new Promise((answer, fail) => {
      if (this.socket?.readyState !== WebSocket.OPEN) return fail(new Error("lost"));
      const request = ++this.count;
      this.waiting.set(request, [answer, fail]);
      this.socket.send(JSON.stringify({ request, do: what, language: language(), ...values }));
    });
  }

  /** Send a file. */
  async upload(file) {
    const address = `/sessions/${this.session}/upload?` + new URLSearchParams({ name: file.name, language: language() });
    return (await fetch(address, { method: "POST", body: file })).json();
  }
}

export const getJson = async (address, options = {}) => (await fetch(address, options)).json();

/** Let the browser save a file. */
export function save(address, name = "") {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

/** Numbers of base64. */
export function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Kind(bytes.buffer);
}
