import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { createDashboard, type Dashboard } from '../../src/dashboard/index.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { evict } from '../helpers/page-cache.js';
import { CHROMIUM, testWith } from '../helpers/peers.js';
import { until } from '../helpers/poll.js';
import { openPort } from '../server/fixture.js';

const PAGE = '/_hotblob/';
const SIZES = { 'web/large': 2 * MIB, 'web/small': 20 * KIB, 'api/cold': MIB, 'api/warm': 512 * KIB };

const browserTest = testWith(test.serial, 'chromium');
let browser: Browser | undefined;
test.after.always(() => browser?.close());

interface Site {
  readonly url: string;
  readonly directory: string;
  readonly handler: Handler;
  /** Closes the dashboard and replaces it by a new one. */
  restart(): void;
}

type ContextOptions = Parameters<Browser['newContext']>[0];

/** Runs a test with the page open in a browser, and asserts that the page logs no error or warning. */
function pageTest(
  title: string,
  run: (t: ExecutionContext, page: Page, site: Site) => Promise<void>,
  options: ContextOptions = {},
): void {
  browserTest(title, async (t) => {
    const site = await openSite(t);
    const problems: string[] = [];
    const page = await openPage(t, `${site.url}${PAGE}`, options, problems);
    await run(t, page, site);
    t.deepEqual(problems, []);
  });
}

async function openSite(t: ExecutionContext): Promise<Site> {
  const directory = await temporaryDirectory(t);
  for (const [key, size] of Object.entries(SIZES)) {
    await mkdir(join(directory, key, '..'), { recursive: true });
    writePattern(directory, key, size, 1);
  }
  evict(join(directory, 'api/cold'));
  const store = await directoryStore(directory, { immutable: true });
  const handler = createHandler({ store });
  let dashboard: Dashboard | undefined;
  const { port, server } = await openPort(t, {
    handle: async (exchange) => (await dashboard?.handle(exchange)) || handler.handle(exchange),
  });
  dashboard = createDashboard({ handler, server, store });
  t.teardown(async () => {
    dashboard?.close();
    handler.close();
    await store.close();
  });
  const url = `http://127.0.0.1:${port}`;
  const restart = (): void => {
    dashboard?.close();
    dashboard = createDashboard({ handler, server, store });
  };
  return { url, directory, handler, restart };
}

async function openPage(t: ExecutionContext, url: string, options: ContextOptions, problems: string[]): Promise<Page> {
  // In a container, the sandbox of Chromium has no user namespaces.
  browser ??= await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  const context = await browser.newContext(options);
  t.teardown(() => context.close());
  const page = await context.newPage();
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    // Violations of the Content-Security-Policy are logged as errors.
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text());
  });
  await page.goto(url);
  await page.locator('#map button').first().waitFor();
  return page;
}

/** Sends requests until `isOver` returns true. Three of four are hits. Returns what was downloaded. */
async function load({ url }: Site, isOver: () => boolean): Promise<{ bytes: number; hits: number; lookups: number }> {
  const done = { bytes: 0, hits: 0, lookups: 0 };
  const keys = ['web/large', 'web/small', 'missing', 'web/small'];
  while (!isOver()) {
    const response = await fetch(`${url}/${keys[done.lookups % keys.length]}`);
    done.bytes += (await response.arrayBuffer()).byteLength * Number(response.ok);
    done.lookups++;
    done.hits += Number(response.ok);
  }
  return done;
}

/** Generates load until the tiles, which average some seconds, show its hit rate. */
async function loadUntilShown(page: Page, site: Site): Promise<{ bytes: number; hits: number; lookups: number }> {
  let isOver = false;
  const loading = load(site, () => isOver);
  try {
    await until('the tiles show the hit rate and the throughput of the load', async () => {
      const [throughput = '', hitRate = ''] = await page.locator('#throughput, #hit-rate').allTextContents();
      return Math.abs(Number.parseFloat(hitRate) - 75) < 5 && bytesIn(throughput) > 0;
    });
  } finally {
    isOver = true;
  }
  return loading;
}

pageTest('shows the throughput and the hit rate of a load', async (t, page, site) => {
  t.is(await page.locator('#status').textContent(), 'Live');
  const { bytes, hits, lookups } = await loadUntilShown(page, site);
  const { sent, ...counted } = site.handler.stats();
  t.like(counted, { hits, misses: lookups - hits });
  t.is(
    Object.values(sent).reduce((sum, each) => sum + each.bytes, 0),
    bytes,
  );
  const table = page.locator('#chart-throughput details');
  await table.locator('summary').click();
  // The sum of the rates of all seconds. On a busy machine samples are further apart than a second.
  let total = 0;
  await until('the chart has the bytes of the load', async () => {
    total = await sumOfRows(table.locator('tbody tr'));
    return total > 0.5 * bytes;
  });
  t.true(total < 2 * bytes, `${total} of ${bytes} bytes are in the chart`);
});

pageTest('the fill of a cell shows the part of the artifact in the page cache', async (t, page, site) => {
  const residentShare = async (key: string): Promise<number> =>
    Number(await page.locator(`#map button[data-key="${key}"]`).getAttribute('data-resident'));
  t.is(await page.locator('#map button').count(), 4);
  t.is(await residentShare('api/cold'), 0);
  // Not 1: the kernel may reclaim single pages.
  t.true((await residentShare('api/warm')) > 0.5);
  await (await fetch(`${site.url}/api/cold`)).arrayBuffer();
  await until('api/cold is resident', async () => (await residentShare('api/cold')) > 0.5);
  evict(join(site.directory, 'api/warm'));
  await until('api/warm is not resident', async () => (await residentShare('api/warm')) === 0);
  const fill = page.locator('#map button[data-key="api/warm"] .fill');
  t.is(await fill.evaluate((element) => element.clientHeight), 0);
  const label = await page.locator('#map button[data-key="api/cold"]').getAttribute('aria-label');
  t.regex(label ?? '', /^api\/cold: 1\.00 MiB, \d+% in the page cache, 1 download$/);
  const areaOf = async (key: string): Promise<number> => {
    const box = await page.locator(`#map button[data-key="${key}"]`).boundingBox();
    return (box?.width ?? 0) * (box?.height ?? 0);
  };
  const share = (await areaOf('web/large')) / (await areaOf('api/warm'));
  t.true(share > 3.6 && share < 4.4, `an artifact of four times the size has ${share} times the area`);
});

pageTest('a key is shown with its invisible and bidirectional characters escaped', async (t, page, site) => {
  const key = 'web/a\u202egpj.exe';
  writePattern(site.directory, key, 100, 1);
  site.restart();
  await page.reload();
  const cell = page.locator(`#map button[data-key="${key}"]`);
  await cell.waitFor();
  t.regex((await cell.getAttribute('aria-label')) ?? '', /^web\/a\\u202egpj\.exe: 100 B/);
  await cell.focus();
  await page.keyboard.press('Enter');
  t.is(await page.locator('#artifact h2').textContent(), 'web/a\\u202egpj.exe');
});

pageTest('a click or Enter opens the dialog of an artifact; Escape closes it', async (t, page, site) => {
  await (await fetch(`${site.url}/web/large`)).arrayBuffer();
  await page.locator('#map button[data-key="web/large"]').click();
  const dialog = page.locator('#artifact');
  await dialog.getByText('of 512 pages of 4.00 KiB').waitFor();
  t.is(await dialog.locator('h2').textContent(), 'web/large');
  t.is(await dialog.locator('tbody tr').count(), 1);
  t.deepEqual((await dialog.locator('tbody td').allTextContents()).slice(1, 3), ['GET 200', '2.00 MiB']);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });

  // All cells together are one tab stop. Arrow keys move between them.
  const focused = () => page.evaluate(() => (document.activeElement as HTMLElement | null)?.dataset['key']);
  await page.locator('#map button[tabindex="0"]').focus();
  await page.keyboard.press('Home');
  const first = await focused();
  const seen = new Set([first]);
  for (const key of ['ArrowRight', 'ArrowDown', 'ArrowLeft', 'ArrowUp', 'End']) {
    await page.keyboard.press(key);
    seen.add(await focused());
  }
  t.true(seen.size >= 3 && !seen.has(undefined), [...seen].join(', '));
  t.is(await page.locator('#map button[tabindex="0"]').count(), 1);
  const last = await focused();
  await page.keyboard.press('Enter');
  await page.locator('#artifact').waitFor();
  t.is(await dialog.locator('h2').textContent(), last ?? null);
});

for (const [name, options] of Object.entries({
  light: { colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  dark: { colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 } },
} as const)) {
  const check = async (t: ExecutionContext, page: Page, site: Site): Promise<void> => {
    await loadUntilShown(page, site);
    for (const summary of await page.locator('summary').all()) await summary.click();
    await assertAccessible(t, page);
    const [wide, room] = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return [scrollWidth, clientWidth] as const;
    });
    t.true(wide <= room, `${wide} of ${room} pixels`);
    await page.locator('#map button').first().click();
    await page.locator('#artifact').getByText('pages of').waitFor();
    await assertAccessible(t, page);
  };
  pageTest(`${name}: the page is accessible and fits into the viewport`, check, options);
}

browserTest('the page shows when the connection is lost, and continues when it is restored', async (t) => {
  const site = await openSite(t);
  const page = await openPage(t, `${site.url}${PAGE}`, {}, []);
  const status = page.locator('#status');
  await status.getByText('Live').waitFor();
  const states = new Set<string | null>();
  const watching = until('the page is live again', async () => {
    states.add(await status.textContent());
    return states.size > 1 && (await status.textContent()) === 'Live';
  });
  site.restart();
  await watching;
  t.true(
    [...states].some((state) => state?.startsWith('Reconnecting')),
    [...states].join(', '),
  );
});

/** Asserts that axe finds no violations, for example of contrast, names, roles or the order of headings. */
async function assertAccessible(t: ExecutionContext, page: Page): Promise<void> {
  // evaluate() is not subject to the Content-Security-Policy of the page, unlike a script element.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run());
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]?.html}`);
  t.deepEqual(found, []);
}

function bytesIn(text: string): number {
  const [value, unit = 'B'] = text.replace('/s', '').split(' ');
  return Number(value) * 1024 ** ['B', 'KiB', 'MiB', 'GiB'].indexOf(unit);
}

/** Returns the sum of a table of bytes per second with one row per second. */
async function sumOfRows(rows: ReturnType<Page['locator']>): Promise<number> {
  const texts = await rows.evaluateAll((each) =>
    each.map((row) => [...row.querySelectorAll('td')].slice(1).map((cell) => cell.textContent ?? '')),
  );
  return texts.flat().reduce((sum, text) => sum + bytesIn(text), 0);
}
