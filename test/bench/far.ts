import { withClients, withServers } from './children.js';
import type { BenchContext } from './context.js';
import type { FarClientConfig } from './far-client.js';
import { MIB } from './files.js';
import { comparison, type Sample, type Samples } from './rounds.js';
import type { Contender, Protocol } from './server.js';
import type { Line } from './table.js';

const ROUND_TRIP_MS = 50;
const ROUNDS = 3;
const TIMEOUT_MS = 60_000;

interface Setup {
  readonly contender: Contender;
  readonly protocol: Protocol;
  /** Size of the upload. It takes about a second. */
  readonly bytes: number;
}

const OURS: Setup = { contender: 'hotblob', protocol: 'h2c', bytes: 64 * MIB };
const NODE_HTTP2: Setup = { contender: 'node', protocol: 'h2c', bytes: 2 * MIB };
const NODE_HTTP1: Setup = { contender: 'node', protocol: 'h1', bytes: 64 * MIB };

/** Measures one upload over HTTP/2 through a proxy with latency, compared with node:http2 and with HTTP/1.1. */
export async function far(context: BenchContext): Promise<Line[]> {
  const workload = `h2c, one upload, ${ROUND_TRIP_MS} ms round-trip time`;
  context.progress(workload);
  const rounds = new Map<Setup, Sample[]>([OURS, NODE_HTTP2, NODE_HTTP1].map((setup) => [setup, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [setup, samples] of rounds) samples.push(await upload(setup));
  }
  return [
    { setup: NODE_HTTP2, atLeast: 20, remark: 'compared with node:http2 and its default windows' },
    { setup: NODE_HTTP1, atLeast: 0.8, remark: 'compared with node:http (HTTP/1.1)' },
  ].map(({ setup, atLeast, remark }) => {
    const samples: Samples = new Map([OURS, setup].map((each) => [each.contender, rounds.get(each) ?? []]));
    return comparison(samples, { workload, figure: 'MiB/s', against: 'node', atLeast, scale: 1 / MIB, remark });
  });
}

async function upload({ contender, protocol, bytes }: Setup): Promise<Sample> {
  return withServers([{ contender, protocol }], async ([server]) => {
    if (server === undefined) throw new Error('no server');
    const config: FarClientConfig = {
      port: server.port,
      protocol,
      roundTripMs: ROUND_TRIP_MS,
      bytes,
      timeoutMs: TIMEOUT_MS,
    };
    return withClients('./far-client.ts', config, ({ seconds }) => ({
      succeeded: bytes,
      failed: 0,
      seconds,
      perSecond: bytes / seconds,
      cpuMicroseconds: server.cpuMicroseconds() / bytes,
    }));
  });
}
