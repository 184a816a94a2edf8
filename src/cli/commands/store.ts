import type { Command } from "commander";
import { storeEndpoints } from "../../cluster/index.js";
import { connectStore, type KeyValue, type Store } from "../../store/index.js";
import { CliError, findLab, outputOption, print, printJson, untilInterrupt } from "../context.js";

interface StoreOptions {
  readonly lab?: string;
  readonly output?: string;
  readonly prefix?: boolean;
}

export function define(command: Command): void {
  const common = (sub: Command) => sub.option("--lab <name>", "name of the lab").addOption(outputOption());
  command
    .command("endpoints")
    .option("--lab <name>", "name of the lab")
    .description("where the store answers")
    .action((options: StoreOptions) => {
      const lab = findLab(options.lab);
      for (const endpoint of storeEndpoints(lab.paths, lab.record)) print(endpoint);
      if (lab.record.storeListen) print(`http://${lab.record.storeListen}`);
    });
  common(command.command("get"))
    .argument("<key>")
    .option("--prefix", "all keys that start with it")
    .description("print keys and values")
    .action((key: string, options: StoreOptions) => withStore(options, (store) => get(store, key, options)));
  common(command.command("watch"))
    .argument("<key>")
    .option("--prefix", "all keys that start with it")
    .description("print changes as they come, until Ctrl-C")
    .action((key: string, options: StoreOptions) =>
      withStore(options, (store) => watch(store, key, options)),
    );
  command.addHelpText(
    "after",
    "\nThe store speaks etcd's v3 protocol. For etcdctl, which wants TCP: podwire up --store-listen 127.0.0.1:2379, then" +
      "\n  podwire host -- env ETCDCTL_API=3 etcdctl --endpoints=127.0.0.1:2379 get --prefix /",
  );
}

async function withStore(options: StoreOptions, act: (store: Store) => Promise<void>): Promise<void> {
  const lab = findLab(options.lab);
  const store = connectStore({ endpoints: [...storeEndpoints(lab.paths, lab.record)] });
  try {
    await act(store);
  } finally {
    await store.close();
  }
}

async function get(store: Store, key: string, options: StoreOptions): Promise<void> {
  const { kvs } = await store.range(key, { prefix: options.prefix ?? false });
  if (kvs.length === 0) throw new CliError(options.prefix ? `no key begins with ${key}` : `no key ${key}`);
  if (options.output === "json") return printJson(kvs.map(plain));
  for (const kv of kvs) print(`${kv.key}\n${Buffer.from(kv.value).toString()}`);
}

async function watch(store: Store, key: string, options: StoreOptions): Promise<void> {
  const signal = untilInterrupt();
  for await (const batch of store.watch(key, { prefix: options.prefix ?? false, signal })) {
    for (const event of batch.events) {
      if (options.output === "json") print(JSON.stringify({ type: event.type, ...plain(event.kv) }));
      else print(`${event.type.toUpperCase()}\n${event.kv.key}\n${Buffer.from(event.kv.value).toString()}`);
    }
  }
}

function plain(kv: KeyValue): object {
  const { key, createRevision, modRevision, version, lease } = kv;
  return { key, value: Buffer.from(kv.value).toString(), createRevision, modRevision, version, lease };
}
