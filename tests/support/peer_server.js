// A socket.io server for HubLink: checks the token, answers, calls back. Commands come as events; facts go out as lines.
const { Server } = require(process.argv[2] + "/socket.io");
const http = require("http").createServer();
const io = new Server(http, { maxHttpBufferSize: 50331648, perMessageDeflate: { threshold: 0 }, pingInterval: Number(process.argv[3] || 25000), pingTimeout: 20000 });
const say = (...facts) => console.log(JSON.stringify(facts));
io.of("/cli").use((socket, next) => socket.handshake.auth.token === "good" ? next() : next(new Error("Invalid token")));
io.of("/cli").on("connection", (socket) => {
  say("connection", socket.handshake.auth, socket.conn.transport.name);
  socket.onAny((name, ...args) => {
    const ack = typeof args[args.length - 1] === "function" ? args.pop() : null;
    if (name === "call back") socket.timeout(5000).emit("rpc-request", args[0], (error, answer) => ack(error ? "timeout" : answer));
    else if (name === "kick") socket.disconnect(false);
    else if (name === "drop") socket.conn.close();
    else if (ack) ack({ name, args });
    else say("event", name, ...args);
  });
  socket.on("disconnect", (reason) => say("disconnect", reason));
});
http.listen(0, "127.0.0.1", () => say("port", http.address().port));
