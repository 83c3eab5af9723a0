import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { HandlerStats } from '../../src/handler/stats.js';
import { type MemoryGroup, memoryGroup } from '../helpers/cgroup.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { assertBytes } from '../helpers/file-site.js';
import { MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { evict } from '../helpers/page-cache.js';
import { until } from '../helpers/poll.js';
import { faultTable } from './table.js';

const { fault: declare } = faultTable(test, 'Memory pressure', ['memory use']);
const fault = (name: string, run: (t: ExecutionContext) => Promise<string>): void => declare([name], run, 'cgroup');

const LIMIT = 256 * MIB;
/** Maximum distance to a share of the limit, as a share of the limit. */
const TOLERANCE = 0.015;
/** Together larger than the limit. */
const MANY = { files: 9, size: 40 * MIB };
/** Small enough to stay in the page cache under pressure. */
const ONE = { files: 1, size: 8 * MIB };

fault('clean page cache fills the rest of the limit', async (t) => {
  const site = await openSite(t, MANY);
  const levels = new Set<string>();
  for (let index = 0; index < MANY.files; index++) levels.add((await site.download(index)).pressure);
  const { group } = site;
  const { memory } = await site.child.hold(0);
  t.like(memory, { sensor: `cgroup v${group.version}`, limitBytes: LIMIT, headroomBytes: 64 * MIB });
  t.true((memory?.usedBytes ?? LIMIT) < 0.5 * LIMIT, `${memory?.usedBytes} bytes in use`);
  const isFull = group.chargedBytes() > 0.95 * LIMIT;
  return [
    isFull ? 'the limit is reached' : 'the limit is not reached',
    `always \`${[...levels].join(' or ')}\``,
    ...(await site.downloadOnceWarm(MANY.files - 1)),
  ].join('; ');
});

// The watermarks are 70% and 85% of the limit. A level ends 10% below its watermark, at 63% and 76.5%.
for (const shares of [[60], [74], [90], [90, 80], [90, 66], [90, 74, 50], [74, 66], [74, 66, 60]]) {
  const [first, ...others] = shares.map((share) => `${share}%`);
  fault(`anonymous memory at ${[first, ...others].join(', then ')}`, async (t) => {
    const site = await openSite(t, ONE);
    for (const share of shares) await site.use(share / 100);
    return (await site.downloadOnceWarm(0)).join('; ');
  });
}

interface Site {
  readonly group: MemoryGroup;
  readonly child: ChildServer;
  download(index: number): Promise<HandlerStats>;
  /** Describes a download of an artifact that is in the page cache. */
  downloadOnceWarm(index: number): Promise<string[]>;
  /** Makes the process use a share of the limit. */
  use(share: number): Promise<void>;
}

async function openSite(t: ExecutionContext, { files, size }: typeof ONE): Promise<Site> {
  const directory = await temporaryDirectory(t);
  const bodies = Array.from({ length: files }, (_, index) => writePattern(directory, `${index}`, size, index));
  // Evicts the files, so that their pages are charged to the cgroup that reads them.
  for (const index of bodies.keys()) evict(join(directory, `${index}`));
  const group = memoryGroup(t, LIMIT);
  const child = await ChildServer.start(t, { kind: 'http', directory, memory: 'measured' }, `${group.join} && exec`);
  let held = 0;
  let downloads = 0;
  const site: Site = {
    group,
    child,
    async download(index) {
      const { body } = await request(child.server, { path: `/${index}` });
      assertBytes(t, body, bodies[index] ?? Buffer.alloc(0));
      downloads++;
      await until(
        'the server has counted the response',
        async () => (await child.stats()).responses[200] === downloads,
      );
      return child.stats();
    },
    async downloadOnceWarm(index) {
      let outcome: string[] = [];
      await until('all of the file is in the page cache', async () => {
        const before = await child.stats();
        const after = await site.download(index);
        outcome = describeDownload(before, after);
        return after.sent.read.bytes === before.sent.read.bytes;
      });
      return [...outcome, group.kills() === 0 && child.isAlive ? 'the process survives' : 'the process is killed'];
    },
    async use(share) {
      let used = 0;
      await until(`${share} of the limit is used`, async () => {
        used = (await child.hold(held)).memory?.usedBytes ?? 0;
        const missing = share * LIMIT - used;
        if (Math.abs(missing) < TOLERANCE * LIMIT) return true;
        // Approaches the share from above in small steps, because levels have hysteresis. V8 frees released memory later.
        held = Math.max(0, held + (missing > 0 ? missing : missing / 2));
        return false;
      });
      t.log(`${Math.round(used / MIB)} MiB used, ${Math.round(group.chargedBytes() / MIB)} MiB charged`);
    },
  };
  return site;
}

function describeDownload(before: HandlerStats, after: HandlerStats): string[] {
  const sent = (source: 'mapped' | 'copied' | 'read') => after.sent[source].bytes > before.sent[source].bytes;
  const reasons = Object.entries(after.unmapped).filter(
    ([reason, count]) => count > (before.unmapped[reason as keyof HandlerStats['unmapped']] ?? 0),
  );
  return [
    `\`${after.pressure}\``,
    (['mapped', 'copied', 'read'] as const).filter(sent).join(' and '),
    ...(reasons.length === 0 ? [] : [`unmapped: ${reasons.map(([reason]) => `\`${reason}\``).join(', ')}`]),
  ];
}
