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

interface Way {
  readonly contender: Contender;
  readonly protocol: Protocol;
  /** Enough for a second or so. */
  readonly bytes: number;
}

const OURS: Way = { contender: 'hotblob', protocol: 'h2c', bytes: 64 * MIB };
const NODE_HTTP2: Way = { contender: 'node', protocol: 'h2c', bytes: 2 * MIB };
const NODE_HTTP1: Way = { contender: 'node', protocol: 'h1', bytes: 64 * MIB };

/** One upload over HTTP/2 through a proxy that delays: against the windows of Node, and against HTTP/1.1. */
export async function far(context: BenchContext): Promise<Line[]> {
  const workload = `h2c, one upload, ${ROUND_TRIP_MS} ms round trip`;
  context.progress(workload);
  const rounds = new Map<Way, Sample[]>([OURS, NODE_HTTP2, NODE_HTTP1].map((way) => [way, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [way, samples] of rounds) samples.push(await upload(way));
  }
  return [
    { way: NODE_HTTP2, atLeast: 20, remark: 'against the windows of node:http2' },
    { way: NODE_HTTP1, atLeast: 0.8, remark: 'against HTTP/1.1 through the same proxy' },
  ].map(({ way, atLeast, remark }) => {
    const samples: Samples = new Map([OURS, way].map((each) => [each.contender, rounds.get(each) ?? []]));
    return comparison(samples, { workload, figure: 'MiB/s', against: 'node', atLeast, scale: 1 / MIB, remark });
  });
}

async function upload({ contender, protocol, bytes }: Way): Promise<Sample> {
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
