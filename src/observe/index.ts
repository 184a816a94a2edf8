/**
 * What people read. Everything here turns records of the datapath into text: an observation into a trace line or a line
 * of JSON, a connection into a line of `conntrack -L`; a filter chooses which observations are shown.
 *
 * There are two ways out. Events (a lease, a pod, an error) go through winston: few, structured, into a file and to the
 * console. Trace lines come at packet rate and go through a batched stream, which drops and counts lines when its
 * reader is slow, since the datapath must never wait for a terminal.
 */
export { formatConntrackEvent, formatConntrackLine, formatConntrackStats } from "./conntrackLine.js";
export { TraceFilter, TraceFilterError, type TraceFilterSpec } from "./filter.js";
export {
  closeLog,
  createLog,
  LOG_LEVELS,
  type Logger,
  type LogLevel,
  type LogOptions,
  lastWords,
} from "./log.js";
export { type BatchedLineOptions, BatchedLineStream } from "./stream.js";
export { observationToJson } from "./traceJson.js";
export { formatObservation, type TraceLineOptions } from "./traceLine.js";
export { observationFromJson } from "./traceRead.js";
export type { NameOf } from "./tupleText.js";
