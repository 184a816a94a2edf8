/** The event log of a process, through winston: readable on the console, JSON in a file. Not for packets. */
import { createWriteStream, type WriteStream } from "node:fs";
import { createRequire } from "node:module";
import type { Writable } from "node:stream";
import pc from "picocolors";
import type { Logger, transport as Transport } from "winston";

export type { Logger } from "winston";

/** Levels, most urgent first. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  /** Who speaks: a node's name or `cluster`. */
  readonly component: string;
  /** `info` unless given. */
  readonly level?: LogLevel;
  /** File that JSON lines are appended to; none unless given. */
  readonly file?: string;
  /** Where readable lines go; standard error unless given. */
  readonly console?: Writable;
  /** ANSI colours on the console; when it is a terminal unless given. */
  readonly colour?: boolean;
}

const files = new WeakMap<Logger, WriteStream>();

/**
 * Opens a log. `log.info(message, fields)` and its siblings take a sentence and an object of details. A line on the
 * console is `TIME LEVEL COMPONENT: MESSAGE key=value …`; in the file an object with `time`, `level`, `component`,
 * `message` and the details. A file that cannot be written is reported once on the console.
 */
export function createLog(options: LogOptions): Logger {
  // Loaded here, since commands that only print trace lines must not wait for winston.
  const winston = createRequire(import.meta.url)("winston") as typeof import("winston");
  const { console = process.stderr, component, level = "info" } = options;
  const colour = options.colour ?? (console as { isTTY?: boolean }).isTTY === true;
  const readable = winston.format.printf((entry) => formatEntry(entry, colour));
  const transports: Transport[] = [new winston.transports.Stream({ stream: console, format: readable })];
  const file = options.file === undefined ? undefined : createWriteStream(options.file, { flags: "a" });
  if (file !== undefined) {
    const json = winston.format.printf((entry) => JSON.stringify(entry, errorsAsText));
    transports.push(new winston.transports.Stream({ stream: file, format: json }));
  }
  const log = winston.createLogger({
    level,
    levels: Object.fromEntries(LOG_LEVELS.map((name, rank) => [name, rank])),
    format: winston.format((entry) => ({ time: new Date().toISOString(), component, ...entry }))(),
    transports,
  });
  if (file !== undefined) {
    files.set(log, file);
    file.once("error", (error) => {
      files.delete(log);
      console.write(`The log file ${options.file} cannot be written: ${error.message}\n`);
    });
  }
  return log;
}

/** Ends a log; resolves when the file holds its last line. */
export async function closeLog(log: Logger): Promise<void> {
  await new Promise<void>((resolve) => {
    log.once("finish", resolve);
    log.end();
  });
  const file = files.get(log);
  if (file !== undefined) await new Promise<void>((resolve) => file.end(() => resolve()));
}

/**
 * What ends a process: says why in the log, closes it, and exits. A second reason, while the first one's words are still
 * on their way, is said on the console alone: the log takes nothing any more.
 */
export function lastWords(
  log: Logger,
  exit: (code: number) => void = process.exit,
  console: Writable = process.stderr,
): (code: number, message?: string) => Promise<never> {
  let ending = false;
  return async (code, message) => {
    if (ending) {
      if (message) console.write(`${message}\n`);
    } else {
      ending = true;
      if (message) log.error(message);
      // What others log from now on is lost, and must not count as a crash of its own.
      log.on("error", () => {});
      await closeLog(log);
      exit(code);
    }
    return new Promise<never>(() => {});
  };
}

function formatEntry(entry: Record<string, unknown>, colour: boolean): string {
  const { time, level, component, message, ...details } = entry;
  const colours = pc.createColors(colour);
  const paint = level === "error" ? colours.red : level === "warn" ? colours.yellow : colours.dim;
  const fields = Object.entries(details).map(([key, value]) => ` ${key}=${formatValue(value)}`);
  const clock = String(time).slice(11, 23);
  return `${clock} ${paint(String(level).padEnd(5))} ${component}: ${message}${fields.join("")}`;
}

function formatValue(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message);
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value) ?? "undefined";
}

function errorsAsText(_key: string, value: unknown): unknown {
  return value instanceof Error ? (value.stack ?? value.message) : value;
}
