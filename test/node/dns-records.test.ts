/** Kubernetes DNS-based service discovery 1.1.0, paragraph by paragraph, asked and answered as messages. */
import { describe, expect, it } from "vitest";
import type { Resolve } from "../../src/node/images/dns/resolver.js";
import { ask, catalogOf, NOW_SECONDS, resolverOf, service, slice } from "./dns-lab.js";

const WEB = service("web", {
  type: "ClusterIP",
  clusterIP: "10.254.0.80",
  clusterIPs: ["10.254.0.80"],
  ports: [
    { name: "http", port: 80, protocol: "TCP", targetPort: 8080 },
    { name: "dns", port: 53, protocol: "UDP" },
    { port: 9000, protocol: "TCP" },
  ],
});
const WEB_SLICE = slice("web", [{ addresses: ["172.16.1.5"], conditions: { ready: true } }]);
const DB = service("db", { clusterIP: "None", ports: [{ name: "sql", port: 3306 }] });
const SQL = [{ name: "sql", port: 3306, protocol: "TCP" }];
const DB_SLICE = slice(
  "db",
  [
    { addresses: ["172.16.2.2"], hostname: "db-0", conditions: { ready: true } },
    { addresses: ["172.16.2.3"], hostname: "db-1", conditions: {} },
    { addresses: ["172.16.2.4"], conditions: { ready: true } },
    { addresses: ["172.16.2.5"], hostname: "db-9", conditions: { ready: false, serving: true } },
  ],
  SQL,
);
const resolve = resolverOf(
  catalogOf({
    services: [
      WEB,
      DB,
      service("empty", { clusterIP: "None", ports: [{ name: "x", port: 1 }] }),
      service("ext", { type: "ExternalName", externalName: "web.default.svc.cluster.local." }),
      service("away", { type: "ExternalName", externalName: "foo.example.com" }),
      service("bad", { type: "ExternalName", externalName: "not a name" }),
      service("loop", { type: "ExternalName", externalName: "loop.default.svc.cluster.local" }),
      service("pending", { type: "ClusterIP", ports: [] }),
      service("kube-dns", { clusterIP: "10.254.0.10" }, "kube-system"),
      service("six", { clusterIP: "fd00::9", clusterIPs: ["fd00::9", "10.254.0.9"] }),
    ],
    slices: [
      WEB_SLICE,
      DB_SLICE,
      slice("empty", [{ addresses: ["172.16.3.3"], conditions: { ready: false } }]),
    ],
  }),
);
const under = (rest: string) => `${rest}.svc.cluster.local`;
const lines = async (name: string, type = "A", of: Resolve = resolve) =>
  [...(await ask(of, name, { type })).lines].sort();

describe("2.2 schema version", () => {
  it("is a TXT record", async () => {
    expect(await lines("dns-version.cluster.local", "TXT")).toEqual(["dns-version.cluster.local TXT 1.1.0"]);
  });
});

describe("2.3 a Service with ClusterIP", () => {
  it("has an A record with a TTL of five seconds, authoritative", async () => {
    const reply = await ask(resolve, under("web.default"));
    expect(reply).toMatchObject({ rcode: "NOERROR", flag_aa: true, flag_ra: false, id: 4711 });
    expect(reply.answers).toMatchObject([
      { name: under("web.default"), type: "A", ttl: 5, data: "10.254.0.80" },
    ]);
  });

  it("has a SRV record for each named port, with its address beside it", async () => {
    const reply = await ask(resolve, under("_http._tcp.web.default"), { type: "SRV" });
    expect(reply.lines).toEqual([`${under("_http._tcp.web.default")} SRV 0 100 80 ${under("web.default")}`]);
    expect(reply.additionals).toMatchObject([{ name: under("web.default"), data: "10.254.0.80" }]);
    expect(await lines(under("_dns._udp.web.default"), "SRV")).toHaveLength(1);
    const wrongProtocol = await ask(resolve, under("_http._udp.web.default"), { type: "SRV" });
    expect(wrongProtocol.rcode).toBe("NXDOMAIN");
  });

  it("has SRV records of all ports at its own name", async () => {
    const expected = [53, 80, 9000].map(
      (port) => `${under("web.default")} SRV 0 33 ${port} ${under("web.default")}`,
    );
    expect(await lines(under("web.default"), "SRV")).toEqual(expected);
  });

  it("has a PTR record for its address", async () => {
    const reply = await ask(resolve, "80.0.254.10.in-addr.arpa", { type: "PTR" });
    expect(reply.lines).toEqual([`80.0.254.10.in-addr.arpa PTR ${under("web.default")}`]);
    expect(reply.flag_aa).toBe(true);
  });

  it("has names for its endpoints by address", async () => {
    expect(await lines(under("172-16-1-5.web.default"))).toEqual([
      `${under("172-16-1-5.web.default")} A 172.16.1.5`,
    ]);
    expect(await lines("5.1.16.172.in-addr.arpa", "PTR")).toEqual([
      `5.1.16.172.in-addr.arpa PTR ${under("172-16-1-5.web.default")}`,
    ]);
  });
});

describe("2.4 a headless Service", () => {
  it("has an A record for each ready endpoint; an unknown state counts as ready", async () => {
    const addresses = ["172.16.2.2", "172.16.2.3", "172.16.2.4"];
    expect(await lines(under("db.default"))).toEqual(addresses.map((ip) => `${under("db.default")} A ${ip}`));
  });

  it("has an A record for each endpoint's host name, or its dashed address", async () => {
    expect(await lines(under("db-0.db.default"))).toEqual([`${under("db-0.db.default")} A 172.16.2.2`]);
    expect(await lines(under("172-16-2-4.db.default"))).toHaveLength(1);
    expect((await ask(resolve, under("172-16-2-2.db.default"))).rcode).toBe("NXDOMAIN");
    expect((await ask(resolve, under("db-9.db.default"))).rcode).toBe("NXDOMAIN");
  });

  it("has a SRV record for each named port of each ready endpoint", async () => {
    const reply = await ask(resolve, under("_sql._tcp.db.default"), { type: "SRV", transport: "tcp" });
    const targets = ["172-16-2-4", "db-0", "db-1"].map((host) => under(`${host}.db.default`));
    const name = under("_sql._tcp.db.default");
    expect([...reply.lines].sort()).toEqual(targets.map((target) => `${name} SRV 0 33 3306 ${target}`));
    expect(reply.additionals).toHaveLength(3);
  });

  it("has a PTR record for each ready endpoint", async () => {
    expect(await lines("3.2.16.172.in-addr.arpa", "PTR")).toEqual([
      `3.2.16.172.in-addr.arpa PTR ${under("db-1.db.default")}`,
    ]);
    expect((await ask(resolve, "5.2.16.172.in-addr.arpa", { type: "PTR" })).rcode).toBe("NXDOMAIN");
  });

  it("does not exist without ready endpoints", async () => {
    expect((await ask(resolve, under("empty.default"))).rcode).toBe("NXDOMAIN");
  });

  it("names an endpoint that stands in two slices once", async () => {
    const twice = resolverOf(
      catalogOf({ services: [DB], slices: [DB_SLICE, slice("db", DB_SLICE.endpoints, SQL, "db-y")] }),
    );
    expect(await lines(under("db.default"), "A", twice)).toHaveLength(3);
    expect(await lines(under("_sql._tcp.db.default"), "SRV", twice)).toHaveLength(3);
    expect(await lines("2.2.16.172.in-addr.arpa", "PTR", twice)).toHaveLength(1);
  });
});

describe("2.5 a Service with an external name", () => {
  it("is an alias, followed within the zone", async () => {
    const ext = `${under("ext.default")} CNAME ${under("web.default")}`;
    expect(await lines(under("ext.default"), "CNAME")).toEqual([ext]);
    expect((await ask(resolve, under("ext.default"))).lines).toEqual([
      ext,
      `${under("web.default")} A 10.254.0.80`,
    ]);
  });

  it("is the alias alone when nobody can be asked about its target", async () => {
    const reply = await ask(resolve, under("away.default"));
    expect(reply.rcode).toBe("NOERROR");
    expect(reply.lines).toEqual([`${under("away.default")} CNAME foo.example.com`]);
  });

  it("fails when it points at itself, and has no record when its target cannot be a name", async () => {
    expect((await ask(resolve, under("loop.default"))).rcode).toBe("SERVFAIL");
    expect(await ask(resolve, under("bad.default"))).toMatchObject({ rcode: "NOERROR", answers: [] });
    expect((await ask(resolve, under("x.ext.default"))).rcode).toBe("NXDOMAIN");
  });
});

describe("2.6 pods by address", () => {
  it("have an A record in every namespace that there is", async () => {
    const name = "1-2-3-4.default.pod.cluster.local";
    expect(await lines(name)).toEqual([`${name} A 1.2.3.4`]);
    for (const other of ["1-2-3-4.nowhere.pod", "1-2-3-400.default.pod", "x.1-2-3-4.default.pod"])
      expect((await ask(resolve, `${other}.cluster.local`)).rcode).toBe("NXDOMAIN");
  });
});

describe("names without the record that is asked for", () => {
  it.each([
    ["web.default.svc", "AAAA"],
    ["web.default.svc", "MX"],
    ["_http._tcp.web.default.svc", "A"],
    ["_tcp.web.default.svc", "SRV"],
    ["pending.default.svc", "A"],
    ["default.svc", "A"],
    ["default.pod", "A"],
    ["svc", "A"],
    ["pod", "A"],
    ["dns", "A"],
    ["dns-version", "A"],
  ])("%s %s: no data, with the SOA that says for how long", async (name, type) => {
    const reply = await ask(resolve, `${name}.cluster.local`, { type });
    expect(reply).toMatchObject({ rcode: "NOERROR", answers: [], flag_aa: true });
    expect(reply.authorities).toMatchObject([
      {
        name: "cluster.local",
        type: "SOA",
        ttl: 5,
        data: { mname: "ns.dns.cluster.local", serial: NOW_SECONDS, minimum: 5 },
      },
    ]);
  });

  it.each([
    "nope.default.svc",
    "web.nowhere.svc",
    "nowhere.svc",
    "nowhere.pod",
    "a._http._tcp.web.default.svc",
    "nope.web.default.svc",
    "_udp.db.default.svc",
    "_._tcp.web.default.svc",
    "x.dns",
    "x.dns-version",
    "nope",
    "web.default",
  ])("%s: no such name, with the SOA", async (name) => {
    const reply = await ask(resolve, `${name}.cluster.local`);
    expect(reply).toMatchObject({ rcode: "NXDOMAIN", answers: [] });
    expect(reply.authorities).toMatchObject([{ name: "cluster.local", type: "SOA" }]);
  });

  it("AAAA records are those of IPv6 addresses", async () => {
    expect(await lines(under("six.default"), "AAAA")).toEqual([`${under("six.default")} AAAA fd00::9`]);
    expect(await lines(under("six.default"))).toEqual([`${under("six.default")} A 10.254.0.9`]);
  });

  it("an address has one reverse name and one record, however it is written in its Service or slice", async () => {
    const six = { ...slice("wide", [{ addresses: ["FD00:0:0:1::00A"] }]), addressType: "IPv6" };
    const typed = { clusterIP: "010.254.000.7", clusterIPs: ["010.254.000.7", "FD00:0::7"] };
    const of = resolverOf(catalogOf({ services: [service("wide", typed)], slices: [six] }));
    const reverse = (tail: string, prefix: string) =>
      `${tail}${"0.".repeat(32 - 4 - tail.length / 2)}${prefix}ip6.arpa`;
    const own = reverse("7.", "0.0.d.f.");
    expect(await lines(own, "PTR", of)).toEqual([`${own} PTR ${under("wide.default")}`]);
    const endpoint = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    const [line] = await lines(endpoint, "PTR", of);
    expect(line).toBe(`${endpoint} PTR ${under("fd00-0-0-1--00a.wide.default")}`);
    expect(await lines("7.0.254.10.in-addr.arpa", "PTR", of)).toHaveLength(1);
    expect(await lines(under("wide.default"), "A", of)).toEqual([`${under("wide.default")} A 10.254.0.7`]);
    expect(await lines(under("wide.default"), "AAAA", of)).toEqual([`${under("wide.default")} AAAA fd00::7`]);
    const unknown = await ask(of, reverse("8.", "0.0.d.f."), { type: "PTR" });
    expect(unknown.rcode).toBe("NXDOMAIN");
    expect(unknown.authorities).toMatchObject([{ name: "ip6.arpa", type: "SOA" }]);
    expect((await ask(of, `z.${own.slice(2)}`, { type: "PTR" })).rcode).toBe("REFUSED");
  });
});

describe("the zone itself", () => {
  it("has SOA and NS, and the name server the address of kube-dns", async () => {
    expect(await lines("cluster.local", "NS")).toEqual(["cluster.local NS ns.dns.cluster.local"]);
    expect(await lines("ns.dns.cluster.local")).toEqual(["ns.dns.cluster.local A 10.254.0.10"]);
    expect((await ask(resolve, "cluster.local", { type: "SOA" })).answers).toHaveLength(1);
    expect((await ask(resolve, "cluster.local", { type: "ANY" })).answers).toHaveLength(2);
  });
});

describe("as objects come and go", () => {
  it("answers follow, also when a Service changes its kind and a slice its addresses", async () => {
    const catalog = catalogOf({ services: [WEB, DB], slices: [DB_SLICE] });
    const follow = resolverOf(catalog);
    const headless = service("web", { clusterIP: "None", ports: [] });
    catalog.services.onUpdate?.(headless, WEB);
    expect((await ask(follow, under("web.default"))).rcode).toBe("NXDOMAIN");
    expect((await ask(follow, "80.0.254.10.in-addr.arpa", { type: "PTR" })).rcode).toBe("NXDOMAIN");
    const moved = slice("db", [{ addresses: ["172.16.9.9"] }], SQL);
    catalog.endpointSlices.onUpdate?.(moved, DB_SLICE);
    expect(await lines(under("db.default"), "A", follow)).toEqual([`${under("db.default")} A 172.16.9.9`]);
    expect((await ask(follow, "2.2.16.172.in-addr.arpa", { type: "PTR" })).rcode).toBe("NXDOMAIN");
    catalog.endpointSlices.onDelete?.(moved);
    catalog.services.onDelete?.(headless);
    catalog.namespaces.onDelete?.({ metadata: { name: "default" } });
    expect((await ask(follow, under("db.default"))).rcode).toBe("NXDOMAIN");
    expect((await ask(follow, "default.svc.cluster.local")).rcode).toBe("NXDOMAIN");
  });

  it("the cluster's names fail until everything is known", async () => {
    const early = resolverOf(catalogOf({ services: [WEB] }), [], false);
    expect((await ask(early, under("web.default"))).rcode).toBe("SERVFAIL");
    expect((await ask(early, "80.0.254.10.in-addr.arpa", { type: "PTR" })).rcode).toBe("SERVFAIL");
  });
});
