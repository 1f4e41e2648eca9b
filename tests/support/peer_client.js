// A socket.io client for SocketServer: says what happens on standard output, one JSON list a line.
const { io } = require(process.argv[2] + "/socket.io-client");
const say = (...facts) => console.log(JSON.stringify(facts));
const socket = io(process.argv[3] + "/cli", { transports: ["websocket"], auth: { token: process.argv[4] }, reconnectionDelay: 50, perMessageDeflate: { threshold: 1024 } });
socket.on("connect", async () => {
  say("connect");
  socket.emit("plain", { n: 1 }, "é😀");
  say("echo", await socket.timeout(5000).emitWithAck("echo", "x".repeat(5000), [1, null, { a: true }]));
});
socket.on("connect_error", (error) => say("connect_error", error.message));
socket.on("ask", (question, ack) => ack({ question }));
socket.on("disconnect", (reason) => say("disconnect", reason));
socket.on("leave", () => { socket.disconnect(); setTimeout(() => process.exit(0), 50); });
