import { realpath } from 'node:fs/promises';
import { type Server, withServers } from './children.js';
import type { BenchContext } from './context.js';
import { type Framework, USUAL_WAYS, type Way } from './framework-apps.js';
import { HOT_FILES } from './hot.js';
import { wrk } from './load.js';
import { comparison, interleaved } from './rounds.js';
import { type Line, sourcesOf } from './table.js';

const CONTENDERS: readonly Way[] = ['hotblob', 'hotblob unpromised', 'usual', 'Buffer'];
const FRAMEWORKS = Object.keys(USUAL_WAYS) as readonly Framework[];
const SIZES = ['4KiB', '64KiB', '1MiB', '16MiB'] as const;
type Size = (typeof SIZES)[number];
const ROUNDS = 3;

/** How many times the usual way ours has to be. Express itself takes most of a request: there it is the Buffer that says. */
function targetOf(framework: Framework, size: Size, way: Way): number {
  if (framework === 'express' || size === '4KiB') return 1;
  return size === '1MiB' && way === 'hotblob' ? 3 : 2;
}

/** In each framework, a route that sends a file: its usual way against ours. HTTP/1.1, 16 connections. */
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
      sourcesOf((await servers.find(({ config }) => config.contender === way)?.ask('report'))?.sent);
    const common = { figure: 'requests/s', called: USUAL_WAYS[framework], against: 'usual' as const };
    const line = async (of: Way, words: string) =>
      comparison(samples, {
        ...common,
        workload: `${workload}${words}`,
        of,
        atLeast: targetOf(framework, size, of),
        remark: await sent(of),
      });
    return [
      await line('hotblob', ''),
      await line('hotblob unpromised', ', no promise'),
      // What the framework's own cost leaves: a Buffer that it sends.
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
    throw new Error(`${framework}, ${contender}: ${response.status} with ${byteLength} bytes`);
  }
}
