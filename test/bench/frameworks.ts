import { realpath } from 'node:fs/promises';
import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { type Framework, USUAL_WAYS, type Way } from './framework-apps.js';
import { HOT_FILES } from './hot.js';
import { wrk } from './load.js';
import { comparison, interleaved } from './rounds.js';
import { type Line, sourcesOf } from './table.js';

const CONTENDERS: readonly Way[] = ['hotblob', 'hotblob mutable', 'usual', 'Buffer'];
const FRAMEWORKS = Object.keys(USUAL_WAYS) as readonly Framework[];
const SIZES = ['4KiB', '64KiB', '1MiB', '16MiB'] as const;
type Size = (typeof SIZES)[number];
const ROUNDS = 3;

/** Returns the target ratio of hotblob to the usual way. Express itself takes most of the time of a request, so its target is 1. */
function targetOf(framework: Framework, size: Size, way: Way): number {
  if (framework === 'express' || size === '4KiB') return 1;
  return size === '1MiB' && way === 'hotblob' ? 3 : 2;
}

/** Compares hotblob with the usual way of each framework to send a file. HTTP/1.1, 16 connections. */
export async function frameworks(context: BenchContext): Promise<Line[]> {
  const lines: Line[] = [];
  for (const framework of FRAMEWORKS) {
    for (const size of SIZES) lines.push(...(await compare(context, framework, size)));
  }
  return lines;
}

async function compare(context: BenchContext, framework: Framework, size: Size): Promise<Line[]> {
  const workload = `${framework}, ${size.replace(/(?=[KM])/, ' ')}`;
  context.progress(workload);
  const directory = await realpath(context.hotDirectory);
  const configs = CONTENDERS.map((contender) => ({
    contender,
    protocol: 'h1' as const,
    framework,
    directory,
    names: [size],
  }));
  return withServers(configs, async (servers) => {
    await assertSameBytes(servers, size);
    const samples = await interleaved(servers, ROUNDS, (server) => wrk(server.url(size), 16, context.isQuick ? 1 : 2));
    const sent = async (way: Way) =>
      sourcesOf((await servers.find(({ config }) => config.contender === way)?.query('report'))?.sent);
    const common = { figure: 'requests/s', label: USUAL_WAYS[framework], against: 'usual' as const };
    const line = async (of: Way, suffix: string) =>
      comparison(samples, {
        ...common,
        workload: `${workload}${suffix}`,
        of,
        atLeast: targetOf(framework, size, of),
        remark: await sent(of),
      });
    return [
      await line('hotblob', ''),
      await line('hotblob mutable', ', not immutable'),
      // The upper bound with this framework: it sends a Buffer.
      comparison(samples, {
        workload: `${workload}, ceiling`,
        figure: 'requests/s',
        against: 'Buffer',
        atLeast: 0,
        remark: '',
      }),
    ];
  });
}

async function assertSameBytes(servers: readonly Server[], size: Size): Promise<void> {
  for (const server of servers) {
    const response = await fetch(server.url(size));
    const { byteLength } = await response.arrayBuffer();
    if (response.status === 200 && byteLength === HOT_FILES[size]) continue;
    const { framework, contender } = server.config;
    throw new Error(
      `${framework}, ${contender}: expected 200 with ${HOT_FILES[size]} bytes, received ${response.status} with ${byteLength}`,
    );
  }
}
