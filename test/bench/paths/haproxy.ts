/** HAProxy in TCP mode as a Service proxy: listens where the client is, ten servers over veth. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installed, type Lab, lastLine, type Running, sleep, Unusable } from "../lab.js";
import { ENDPOINT_COUNT, type PathSet, SERVER_PORTS, UNDERLAY, vethPair } from "./path.js";

const VIP = "127.0.0.1";

export const haproxy: PathSet = {
  names: ["haproxy"],
  async setUp(lab) {
    const program = installed("haproxy");
    const pair = await vethPair(lab, "haproxy");
    const network = UNDERLAY.server.slice(0, UNDERLAY.server.lastIndexOf("."));
    const servers = Array.from({ length: ENDPOINT_COUNT }, (_, i) => `${network}.${11 + i}`);
    await lab.ip(
      pair.server,
      servers.map((address) => `addr add ${address}/24 dev veth0`),
    );
    const dir = mkdtempSync(join(tmpdir(), "pwb-haproxy-"));
    try {
      writeFileSync(join(dir, "haproxy.cfg"), configuration(servers));
      // -db: in the foreground, one process, which is the one whose CPU time counts.
      const running = lab.start(pair.client, [program, "-db", "-f", join(dir, "haproxy.cfg")]);
      await untilServing(lab, pair.client, running);
      return [
        {
          name: "haproxy",
          ...pair,
          address: VIP,
          ports: SERVER_PORTS,
          udp: false,
          pids: [running.pid],
          reference: "veth-dnat",
        },
      ];
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

/** HAProxy says nothing when it is ready. @throws Unusable */
async function untilServing(lab: Lab, netns: string, running: Running): Promise<void> {
  const words = ["iperf3", "--client", VIP, "--port", String(SERVER_PORTS.bulk), "--bytes", "1K"];
  for (let attempt = 0; attempt < 10; attempt++) {
    await sleep(300);
    const isServing = await lab.run(netns, words).then(
      () => true,
      () => false,
    );
    if (isServing) return;
  }
  throw new Unusable(`haproxy does not serve: ${lastLine(running.output())}`);
}

function configuration(servers: readonly string[]): string {
  const { bulk, rr, connect } = SERVER_PORTS;
  const sections = [bulk, rr, connect].map((port) => {
    const lines = servers.map((address, i) => `  server s${i} ${address}:${port}`);
    return `listen p${port}\n  bind ${VIP}:${port}\n  balance roundrobin\n${lines.join("\n")}\n`;
  });
  const defaults =
    "defaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n";
  return `global\n  maxconn 4000\n${defaults}${sections.join("")}`;
}
