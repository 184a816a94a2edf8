/**
 * One node process: the place where the parts meet real devices, clocks and processes.
 *
 * Theory of operation. `runNode` takes a subnet from the store as flannel does, opens the host TAP and the two underlay
 * sockets, and joins them to the pure datapath in one PacketIo. Informers of the API then steer it: Services and
 * EndpointSlices go to the proxy, Nodes become routes of the node network, and the Pods of this node are made real by
 * the kubelet part: a network namespace with a TAP, and processes that outlive this one.
 *
 * Nothing that a pod needs to go on is kept in memory only. Sandboxes and containers have records on disk, TAPs are
 * persistent, and every device or namespace is in a journal before it exists. So the process can be killed at any
 * moment: its next start takes all of it up again, and `down` removes all of it without any process's help.
 */
export { type NodeConfig, NodeExit } from "./config.js";
export { ECHO_IMAGE, type ImageCommand, type ImageTable } from "./images/index.js";
export { nodeNetnsName } from "./nodeNetns.js";
export {
  kill,
  killNetnsProcesses,
  netnsExists,
  netnsPids,
  OwnedJournal,
  type OwnedResource,
  processStartTime,
  readOwned,
  removeOwned,
} from "./owned.js";
export { removeSecretsPath } from "./pods/serviceAccount.js";
export { CommandError, ipBatch, run } from "./run.js";
