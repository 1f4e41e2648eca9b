// A machine's socket.io client: argv: modules, hub, token, id of the machine, transports as JSON.
const { io } = require(process.argv[2] + "/socket.io-client");
const say = (...facts) => console.log(JSON.stringify(facts));
const [, , , hub, token, machineId, transports] = process.argv;
const socket = io(hub + "/cli", {
  path: "/socket.io/", transports: JSON.parse(transports), reconnectionDelay: 50,
  auth: { token, clientType: "machine-scoped", machineId },
});
socket.on("connect", async () => {
  socket.emit("rpc-register", { method: `${machineId}:double` });
  const state = { machineId, expectedVersion: -1, runnerState: {} };
  say("connect", await socket.timeout(10000).emitWithAck("machine-update-state", state));
});
socket.on("rpc-request", (request, ack) => ack(JSON.stringify({ twice: 2 * JSON.parse(request.params), text: "é😀".repeat(2000) })));
socket.on("connect_error", (error) => say("connect_error", error.message));
socket.on("disconnect", (reason) => say("disconnect", reason));
process.stdin.on("data", () => { socket.disconnect(); setTimeout(() => process.exit(0), 50); });
