// The live state of this browser's jobs, over one WebSocket that reconnects by itself.

const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 8000;

/** Calls `onState(state)` for every change and `onLost()` while the server is away. */
export function followJobs(onState, onLost) {
  let pause = FIRST_PAUSE;
  const connect = () => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/app/ws`);
    socket.onmessage = (event) => {
      pause = FIRST_PAUSE;
      onState(JSON.parse(event.data));
    };
    socket.onclose = () => {
      onLost();
      setTimeout(connect, pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    };
  };
  connect();
}
