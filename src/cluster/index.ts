/**
 * One lab: its plan made real, kept running, and removed without a trace.
 *
 * Theory of operation. `startLab` checks the plan against the machine, writes the lab's record, and starts the cluster
 * process under a shell loop that starts it again when it dies. The cluster process holds the store, the API server
 * and the controllers, and supervises one node process per node; all of them are independent processes with pid files,
 * so that any of them can die and the others go on. `removeLab` needs none of them: it ends processes by their pid
 * files and removes devices and namespaces by the journals that were written before they were made.
 */
export { type Applied, applyManifests, ManifestError } from "./apply.js";
export { askApi, LabUnreachableError, openApi } from "./ask.js";
export { type DownReport, listLabs, removeLab } from "./down.js";
export { enterHost } from "./hostNetwork.js";
export { LabPaths, NODE_OPTIONS, runRoot } from "./paths.js";
export { readPidFile, writePidFile } from "./pidfile.js";
export { hostTapName, type LabRecord, readRecord, storeEndpoints } from "./record.js";
export type { NodeState } from "./supervisor.js";
export { abandon, look, type Readiness, startLab, UpError, type UpOptions, waitReady } from "./up.js";
