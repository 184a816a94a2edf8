/** Leases that are kept, lost and taken anew, in virtual time. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FlakyStore } from "./flaky-store.js";
import { Lab } from "./lab.js";

const HOUR_MS = 3_600_000;
const udp = (publicIp: string): string => `{"PublicIP":"${publicIp}","BackendType":"udp"}`;

let lab: Lab;
beforeEach(async () => {
  lab = new Lab();
  await lab.put("config", '{"Network":"172.16.0.0/16"}');
});
afterEach(() => lab.close());

describe("renewal", () => {
  it("keeps a lease of a day for as long as the node runs, an hour before its end each time", async () => {
    const node = await lab.up("10.0.0.11");
    const startedAt = lab.clock.now();
    await lab.clock.advance(23 * HOUR_MS - 1);
    expect(node.overlay.status().lease?.expiresAt).toBe(startedAt + 24 * HOUR_MS);
    await lab.clock.advance(1);
    expect(node.overlay.status().lease?.expiresAt).toBe(startedAt + 47 * HOUR_MS);
    await lab.clock.advance(7 * 24 * HOUR_MS);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
    expect(node.lost).toEqual([]);
  });

  it("works with leases of seconds", async () => {
    const node = await lab.up("10.0.0.11", { leaseTtlSeconds: 5, renewMarginSeconds: 2 });
    const peer = await lab.up("10.0.0.12");
    await lab.clock.advance(120_000);
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.1.0-24", "172.16.2.0-24"]);
    expect(peer.routes.changes).toEqual(["put 172.16.1.0/24 10.0.0.11"]);
    expect(node.log.filter((line) => line.startsWith("warn") && !line.includes("underlay"))).toEqual([]);
  });

  it("ends with the node, and the peers drop the route within a second of the expiry", async () => {
    const node = await lab.up("10.0.0.11", { leaseTtlSeconds: 10 });
    const peer = await lab.up("10.0.0.12");
    await node.overlay.stop();
    await lab.clock.advance(9_900);
    expect([...peer.routes.table]).toEqual([["172.16.1.0/24", "10.0.0.11"]]);
    await lab.clock.advance(1_100);
    expect([...peer.routes.table]).toEqual([]);
    expect(peer.overlay.status().peers).toEqual([]);
  });

  it("survives that the store is away, while the lease lasts", async () => {
    const store = new FlakyStore(lab.store);
    const node = await lab.up("10.0.0.11", { store, leaseTtlSeconds: 60, renewMarginSeconds: 30 });
    store.down = true;
    await lab.clock.advance(50_000);
    store.down = false;
    await lab.clock.advance(120_000);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
    expect(
      node.log.some((line) => line.startsWith("warn: cannot renew subnet 172.16.1.0/24, trying again")),
    ).toBe(true);
    expect(node.lost).toEqual([]);
  });

  it("takes the same subnet again when the lease expired while the store was away", async () => {
    const store = new FlakyStore(lab.store);
    const node = await lab.up("10.0.0.11", { store, leaseTtlSeconds: 60 });
    const peer = await lab.up("10.0.0.12");
    store.down = true;
    await lab.clock.advance(65_000);
    expect(peer.routes.changes).toEqual(["put 172.16.1.0/24 10.0.0.11", "delete 172.16.1.0/24"]);
    store.down = false;
    await lab.clock.advance(20_000);
    expect(peer.routes.changes.at(-1)).toBe("put 172.16.1.0/24 10.0.0.11");
    await lab.clock.advance(600_000);
    expect([...peer.routes.table]).toEqual([["172.16.1.0/24", "10.0.0.11"]]);
    expect(node.lost).toEqual([]);
  });

  it("says that the subnet is lost when another node took it meanwhile", async () => {
    const store = new FlakyStore(lab.store);
    const node = await lab.up("10.0.0.11", { store, leaseTtlSeconds: 60 });
    store.down = true;
    await lab.clock.advance(65_000);
    const thief = await lab.up("10.0.0.12");
    expect(thief.overlay.status().subnet).toBe("172.16.1.0/24");
    store.down = false;
    await lab.clock.advance(20_000);
    expect(node.lost).toEqual(["subnet 172.16.1.0/24 is lost: node 10.0.0.12 holds it now"]);
    expect(node.overlay.status()).toMatchObject({ state: "lost", lostReason: node.lost[0] });
    await lab.clock.advance(600_000);
    expect(node.lost).toHaveLength(1);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.12") });
  });

  it("takes the subnet again at once when someone deletes its key or revokes its lease", async () => {
    const node = await lab.up("10.0.0.11");
    await lab.delete("subnets/172.16.1.0-24");
    await lab.clock.advance(0);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
    await lab.store.leases.revoke(node.overlay.status().lease?.id ?? "");
    await lab.clock.advance(0);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
    await lab.clock.advance(48 * HOUR_MS);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
    expect(node.lost).toEqual([]);
  });

  it("finds at its time that the lease is gone, also when no watch says so", async () => {
    const node = lab.node("10.0.0.11", { leaseTtlSeconds: 60, renewMarginSeconds: 20 });
    await node.overlay.acquire();
    await lab.store.leases.revoke(node.overlay.status().lease?.id ?? "");
    await lab.clock.advance(39_999);
    expect(await lab.subnets()).toEqual({});
    await lab.clock.advance(1);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
  });

  it("takes no notice of what the watch tells late about the time before its last write", async () => {
    const store = new FlakyStore(lab.store);
    const node = await lab.up("10.0.0.11", { store });
    const late = store.holdWatches();
    await lab.delete("subnets/172.16.1.0-24");
    await lab.store.leases.revoke(node.overlay.status().lease?.id ?? "");
    await lab.clock.advance(23 * HOUR_MS);
    const lease = node.overlay.status().lease;
    late();
    await lab.clock.advance(1000);
    expect(node.overlay.status().lease).toEqual(lease);
    expect(await lab.subnets()).toEqual({ "172.16.1.0-24": udp("10.0.0.11") });
  });

  it("is lost when another node's name is put on the key", async () => {
    const node = await lab.up("10.0.0.11");
    await lab.put("subnets/172.16.1.0-24", udp("10.0.0.99"));
    await lab.clock.advance(0);
    expect(node.lost).toEqual(["subnet 172.16.1.0/24 is lost: node 10.0.0.99 holds it now"]);
  });

  it("is not needed for a reservation, nor once a lease is made one", async () => {
    await lab.put("subnets/172.16.7.0-24", udp("10.0.0.11"));
    const reserved = await lab.up("10.0.0.11");
    const leased = await lab.up("10.0.0.12", { leaseTtlSeconds: 60 });
    expect(reserved.overlay.status()).toMatchObject({
      subnet: "172.16.7.0/24",
      lease: { id: "0", expiresAt: null },
    });
    await lab.put("subnets/172.16.1.0-24", udp("10.0.0.12"));
    await lab.clock.advance(48 * HOUR_MS);
    expect(leased.overlay.status().lease).toEqual({ id: "0", expiresAt: null });
    expect(Object.keys(await lab.subnets())).toEqual(["172.16.1.0-24", "172.16.7.0-24"]);
    expect([...leased.lost, ...reserved.lost]).toEqual([]);
  });
});
