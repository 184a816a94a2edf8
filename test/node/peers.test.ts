import { afterEach, beforeEach, it } from "vitest";
import { AddressBook } from "../../src/datapath/ipv6/address-book.js";
import { RouteTable6 } from "../../src/datapath/ipv6/routes.js";
import { RouteTable } from "../../src/datapath/routes.js";
import type { Informer, Node } from "../../src/kube/index.js";
import type { Dataplane } from "../../src/node/dataplane.js";
import { followPeers } from "../../src/node/peers.js";
import { formatIpv4, formatIpv6Prefix, formatPrefix } from "../../src/wire/index.js";
import { type Lab, startLab } from "../kube/harness.js";
import { eventually } from "../root/lab.js";

const PORT = 7;
let lab: Lab;
let peers: Informer<Node>;
/** Underlay addresses whose nodes are sent whole super-packets. */
const whole = new Set<string>();
const routes = new RouteTable();
const routes6 = new RouteTable6(new AddressBook(Math.random));

beforeEach(async () => {
  lab = await startLab();
  const dataplane = {
    io: {
      sendWhole(peer: number, takes: boolean) {
        if (takes) whole.add(formatIpv4(peer));
        else whole.delete(formatIpv4(peer));
        return takes;
      },
    },
    nodenetPort: PORT,
    datapath: { routes, routes6 },
  } as unknown as Dataplane;
  peers = followPeers(lab.local, "own", dataplane);
  await peers.synced;
});
afterEach(async () => {
  peers.stop();
  await lab.close();
});

function node(name: string, underlay: string, addresses: readonly string[], annotations = {}): Node {
  return {
    metadata: { name, annotations: { "flannel.alpha.coreos.com/public-ip": underlay, ...annotations } },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
  };
}
const WHOLE = { "podwire.dev/super-packets": "whole" };

/** Every route and the underlay address that it leads to, and who gets super-packets. */
const state = () => [
  ...routes
    .list()
    .map(({ prefix, port, nextHop }) => `${formatPrefix(prefix)} ${port} ${formatIpv4(nextHop)}`),
  ...routes6
    .list()
    .map(({ prefix, port, nextHop }) => `${formatIpv6Prefix(prefix)} ${port} ${formatIpv4(nextHop)}`),
  ...[...whole].map((underlay) => `whole ${underlay}`),
];
const become = (wanted: readonly string[]) =>
  eventually(
    `${wanted.join(", ") || "nothing"}`,
    async () => state(),
    (now) => `${now.sort()}` === `${[...wanted].sort()}`,
  );

async function change(name: string, to: Node): Promise<void> {
  const found = await lab.local.get<Node>("nodes", undefined, name);
  const metadata = { ...found.metadata, annotations: to.metadata?.annotations };
  const updated = await lab.local.update<Node>("nodes", { ...found, metadata });
  await lab.local.update<Node>("nodes", { ...updated, status: to.status }, "status");
}

it("knows the addresses of other nodes, and who takes super-packets, as they come, change and go", async () => {
  await lab.local.create("nodes", node("own", "192.0.2.1", ["10.177.0.1"], WHOLE));
  await lab.local.create("nodes", node("silent", "nowhere", ["10.177.0.9"], WHOLE));
  await lab.local.create("nodes", node("a", "192.0.2.2", ["10.177.0.2", "fd00::2", "what"], WHOLE));
  await lab.local.create("nodes", node("b", "192.0.2.3", ["10.177.0.3"]));
  const b = "10.177.0.3/32 7 192.0.2.3";
  await become(["10.177.0.2/32 7 192.0.2.2", "fd00::2/128 7 192.0.2.2", b, "whole 192.0.2.2"]);

  await change("a", node("a", "192.0.2.2", ["10.177.0.2", "fd00::2"]));
  await become(["10.177.0.2/32 7 192.0.2.2", "fd00::2/128 7 192.0.2.2", b]);

  await change("a", node("a", "192.0.2.4", ["10.177.0.4", "fd00::4"], WHOLE));
  await become(["10.177.0.4/32 7 192.0.2.4", "fd00::4/128 7 192.0.2.4", b, "whole 192.0.2.4"]);

  await lab.local.delete("nodes", undefined, "a");
  await become([b]);
  await lab.local.delete("nodes", undefined, "b");
  await become([]);
});
