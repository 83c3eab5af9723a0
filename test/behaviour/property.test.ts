import { existsSync, writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { Artifact } from '../../src/contract/artifact.js';
import type { Exchange } from '../../src/contract/exchange.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { DOWNLOAD } from '../helpers/artifact-headers.js';
import { type Response, request } from '../helpers/client.js';
import { ALL_KINDS, type Kind, type RunningServer, startServer } from '../helpers/servers.js';
import { withSources } from '../helpers/sources.js';
import { content, temporaryDirectory } from '../stores/fixture.js';
import { assertBody, assertError, endToEnd } from './site.js';

/** Three windows and a byte. The first window has 64 KiB on HTTP/2 and 256 KiB on HTTP/1.1. */
const MAX_SIZE = 3 * 256 * 1024 + 1;
const MASTER = content(MAX_SIZE + 10_000);
const EDGES = [0, 4096, 16_384, 65_536, 131_072, 262_144, 524_288, MAX_SIZE - 1].flatMap((edge) => [
  edge - 1,
  edge,
  edge + 1,
]);
const DESCRIBED = { etag: '"tag"', lastModified: new Date('2023-01-02T10:00:00Z') };

/** Kinds of artifacts: a file sent from any source or from one, a mutable file, a region of a file, bytes or a stream. */
const SOURCES = ['auto', 'mapped', 'copied', 'read', 'mutable', 'region', 'bytes', 'stream'] as const;

type Range =
  | { readonly of: 'all' }
  | { readonly of: 'closed'; readonly first: number; readonly last: number }
  | { readonly of: 'open'; readonly first: number }
  | { readonly of: 'suffix'; readonly length: number };

interface Download {
  readonly kind: Kind;
  readonly source: (typeof SOURCES)[number];
  readonly size: number;
  readonly range: Range;
}

const position = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...EDGES.filter((edge) => edge >= 0 && edge <= MAX_SIZE)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: MAX_SIZE }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 20 }) },
);

const downloadOf: fc.Arbitrary<Download> = position.chain((size) => {
  // Most ranges end inside the artifact: only those reveal a mistake at the end of a range.
  const inside = fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 0, max: size + 1 }) },
    { weight: 2, arbitrary: position },
  );
  const closed = fc.tuple(inside, inside, fc.nat(9)).map(([a, b, dice]): Range => {
    const isBackwards = dice === 0;
    const [low, high] = [Math.min(a, b), Math.max(a, b)];
    return { of: 'closed', first: isBackwards ? high : low, last: isBackwards ? low : high };
  });
  return fc.record({
    kind: fc.constantFrom(...ALL_KINDS),
    source: fc.constantFrom(...SOURCES),
    size: fc.constant(size),
    range: fc.oneof(
      { weight: 1, arbitrary: fc.constant<Range>({ of: 'all' }) },
      { weight: 4, arbitrary: closed },
      { weight: 1, arbitrary: inside.map((first): Range => ({ of: 'open', first })) },
      { weight: 1, arbitrary: inside.map((length): Range => ({ of: 'suffix', length })) },
    ),
  });
});

function headerOf(range: Range): Record<string, string> {
  if (range.of === 'closed') return { range: `bytes=${range.first}-${range.last}` };
  if (range.of === 'open') return { range: `bytes=${range.first}-` };
  return range.of === 'suffix' ? { range: `bytes=-${range.length}` } : {};
}

/** Returns the expected start and end of the body, or `undefined` if the range is ignored. */
function expectedRange(range: Range, size: number): [number, number] | undefined | 'unsatisfiable' {
  if (range.of === 'all' || size === 0) return undefined;
  if (range.of === 'suffix') {
    if (range.length === 0) return 'unsatisfiable';
    return [Math.max(0, size - range.length), size];
  }
  if (range.of === 'closed' && range.last < range.first) return undefined;
  if (range.first >= size) return 'unsatisfiable';
  return [range.first, range.of === 'open' ? size : Math.min(range.last + 1, size)];
}

function assertDownload(t: ExecutionContext, { size, range }: Download, response: Response): void {
  const part = expectedRange(range, size);
  if (part === 'unsatisfiable') {
    assertError(t, response, 416);
    t.is(response.headers['content-range'], `bytes */${size}`);
    return;
  }
  const [start, end] = part ?? [0, size];
  t.is(response.status, part ? 206 : 200);
  assertBody(t, response.body, MASTER.subarray(start, end));
  t.deepEqual(endToEnd(response.headers), {
    'content-type': 'application/octet-stream',
    'content-length': String(end - start),
    'accept-ranges': 'bytes',
    'cache-control': 'no-cache, no-transform',
    ...DOWNLOAD,
    etag: '"tag"',
    'last-modified': 'Mon, 02 Jan 2023 10:00:00 GMT',
    ...(part && { 'content-range': `bytes ${start}-${end - 1}/${size}` }),
  });
}

/** Returns an artifact with the first `size` bytes of MASTER. */
function artifactOf(directory: string, source: string, size: number): Artifact {
  const bytes = MASTER.subarray(0, size);
  if (source === 'bytes') return { kind: 'bytes', bytes, ...DESCRIBED };
  if (source === 'stream') {
    return { kind: 'stream', size, open: (range) => chunked(bytes.subarray(range?.start, range?.end)), ...DESCRIBED };
  }
  const offset = source === 'region' ? 1 + (size % 9_000) : 0;
  const path = `${directory}/${offset}-${size}`;
  if (!existsSync(path)) {
    const after = source === 'region' ? MASTER.subarray(0, 5_000) : [];
    writeFileSync(path, Buffer.concat([Buffer.alloc(offset, 'before'), bytes, Buffer.from(after)]));
  }
  const region = source === 'region' ? { offset, length: size } : {};
  return { kind: 'file', path, immutable: source !== 'mutable', ...region, ...DESCRIBED };
}

function chunked(bytes: Buffer): Readable {
  let start = 0;
  return new Readable({
    read() {
      this.push(start < bytes.byteLength ? bytes.subarray(start, start + 50_001) : null);
      start += 50_001;
    },
  });
}

test('every combination of server, source, size and range has the expected bytes and headers', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = {
    get(key: string): Artifact {
      const [source = '', size] = key.split('/');
      return artifactOf(directory, source, Number(size));
    },
  };
  const memory = fixedMemoryPressure('normal');
  const common = { store, memory, map: 'always' } as const;
  const auto = createHandler(common);
  const only: Record<string, Handler> = {
    mapped: createHandler(withSources({ ...common, only: 'mapped' })),
    copied: createHandler(withSources({ ...common, only: 'copied' })),
    read: createHandler(withSources({ ...common, only: 'read' })),
  };
  const handler = {
    close: () => auto.close(),
    handle: (exchange: Exchange) => (only[exchange.url.split('/')[1] ?? ''] ?? auto).handle(exchange),
  };
  t.teardown(() => Object.values(only).map((each) => each.close()));
  const servers = new Map<Kind, RunningServer>();
  for (const kind of ALL_KINDS) servers.set(kind, await startServer(t, kind, handler));

  const run = async (download: Download): Promise<void> => {
    const server = servers.get(download.kind);
    if (server === undefined) throw new Error(`no server of kind ${download.kind}`);
    const path = `/${download.source}/${download.size}`;
    try {
      assertDownload(t, download, await request(server, { path, headers: headerOf(download.range) }));
    } catch (error) {
      t.log(download);
      throw error;
    }
  };
  // Concurrent downloads, to detect responses with the bytes of another artifact.
  const several = fc.array(downloadOf, { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(several, async (downloads) => {
      await Promise.all(downloads.map(run));
    }),
    { numRuns: 800, endOnFailure: true },
  );

  const { mapper, copiesResident } = auto.stats();
  t.is(only['mapped']?.stats().sent.mapped.windows === 0, mapper === undefined);
  if (!copiesResident) t.is(only['copied']?.stats().sent.copied.windows, 0);
  t.true((only['read']?.stats().sent.read.windows ?? 0) > 0);
  t.true(auto.stats().sent.stream.windows > 0);
});
