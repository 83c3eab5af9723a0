import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { createDashboard, type Dashboard } from '../../src/dashboard/index.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import type { HistoryWindow } from '../../src/history/history.js';
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
  /** Closes the dashboard. */
  stop(): void;
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

async function openSite(t: ExecutionContext, sizes: Readonly<Record<string, number>> = SIZES): Promise<Site> {
  const directory = await temporaryDirectory(t);
  for (const [key, size] of Object.entries(sizes)) {
    await mkdir(join(directory, key, '..'), { recursive: true });
    writePattern(directory, key, size, 1);
  }
  if ('api/cold' in sizes) evict(join(directory, 'api/cold'));
  const store = await directoryStore(directory, { immutable: true });
  const handler = createHandler({ store });
  let dashboard: Dashboard | undefined;
  const { port, server } = await openPort(t, {
    handle: async (exchange) => (await dashboard?.handle(exchange)) || handler.handle(exchange),
  });
  dashboard = createDashboard({ handler, server, store, removal: true, about: { version: '1.2.3' } });
  t.teardown(async () => {
    dashboard?.close();
    handler.close();
    await store.close();
  });
  const url = `http://127.0.0.1:${port}`;
  const restart = (): void => {
    dashboard?.close();
    dashboard = createDashboard({ handler, server, store, removal: true, about: { version: '1.2.3' } });
  };
  const stop = (): void => {
    dashboard?.close();
    dashboard = undefined;
  };
  return { url, directory, handler, stop, restart };
}

async function openPage(
  t: ExecutionContext,
  url: string,
  options: ContextOptions,
  problems: string[],
  content = '#map button',
): Promise<Page> {
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
  await page.locator(content).first().waitFor();
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
  // The table has the counters of the whole time, so they agree with the load exactly. The text of the bytes is rounded.
  const cells = page.locator('#traffic tbody td');
  await until('the table of the traffic has all responses of the load', async () => {
    const [protocol, responses = ''] = await cells.allTextContents();
    return protocol === 'plain' && Number(responses.replaceAll(',', '')) === lookups;
  });
  const [, , errors, shown = ''] = await cells.allTextContents();
  t.is(errors, '0');
  t.true(Math.abs(bytesIn(shown) - bytes) <= 0.01 * bytes, `${shown} of ${bytes} bytes`);
});

browserTest('the page shows what happened before it was opened, and of the last hour', async (t) => {
  const site = await openSite(t);
  const key = 'web/small';
  for (let count = 0; count < 5; count++) await (await fetch(`${site.url}/${key}`)).arrayBuffer();
  await fetch(`${site.url}/${key}`, { headers: { 'if-modified-since': 'never' }, method: 'PATCH' });
  const history = async () =>
    (await (await fetch(`${site.url}${PAGE}history.json?seconds=600`)).json()) as HistoryWindow;
  await until('the history has the error', async () => 'status/405' in (await history()).columns);
  await until('the history goes on', async () => (await history()).columns['hits']?.at(-1) === 0);
  const page = await openPage(t, `${site.url}${PAGE}`, {}, []);
  for (const seconds of [600, 3600]) {
    await page.locator(`input[value="${seconds}"]`).check();
    await page.locator('#traffic').getByText('plain').waitFor();
    const cells = await page.locator('#traffic tbody td').allTextContents();
    t.deepEqual(cells.slice(0, 1), ['plain']);
  }
  await page.locator('input[value="600"]').check();
  await page.locator('#chart-errors details summary').click();
  await page.locator('#chart-errors .scroll th', { hasText: '405' }).waitFor();
  const texts = await page.locator('#chart-errors .scroll tbody td:nth-child(2)').allTextContents();
  t.true(
    texts.some((text) => Number.parseFloat(text) > 0),
    texts.join(', '),
  );
  await page.locator('#split').selectOption('namespace');
  await page.locator('#traffic').getByText('counted by protocol').waitFor();
});

pageTest('the dialog of an artifact tells its writer, and removes it after a confirmation', async (t, page, site) => {
  await page.locator('#map button[data-key="web/small"]').click();
  const dialog = page.locator('#artifact');
  await dialog.getByText('pages of').waitFor();
  t.deepEqual((await dialog.locator('#artifact-facts dd').allTextContents()).slice(0, 3), [
    'default',
    'plain',
    'unknown',
  ]);
  const button = dialog.locator('#artifact-remove');
  await button.click();
  t.is((await fetch(`${site.url}/web/small`)).status, 200);
  await button.click();
  await dialog.getByText('Removed.').waitFor();
  t.is((await fetch(`${site.url}/web/small`)).status, 404);
  await page.keyboard.press('Escape');
  await until('the cell is gone', async () => (await page.locator('#map button').count()) === 3);
});

browserTest('an empty store shows the command that fills it, above the charts', async (t) => {
  const site = await openSite(t, {});
  const page = await openPage(t, `${site.url}${PAGE}`, {}, [], '#map code');
  const command = (await page.locator('#map code').textContent()) ?? '';
  t.is(command, `curl --upload-file FILE ${site.url}/KEY`);
  const order = await page.locator('main > section').evaluateAll((sections) => sections.map(({ id }) => id));
  t.deepEqual(order.slice(0, 2), ['now', 'map-section']);
  await assertAccessible(t, page);
  await fetch(`${site.url}/KEY`, { method: 'PUT', body: 'x' });
  await page.locator('#map button').first().waitFor();
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
    t.regex((await page.locator('#about').textContent()) ?? '', /^version1\.2\.3up\d/);
    for (const summary of await page.locator('summary:visible').all()) await summary.click();
    const [map, charts] = await Promise.all(['#map', '.charts'].map((name) => page.locator(name).boundingBox()));
    t.is((map?.y ?? 0) < (charts?.y ?? 0), name === 'phone', 'on a phone, the map comes second');
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

browserTest('the page shows since when the server is gone, and continues when it is back', async (t) => {
  const site = await openSite(t);
  const page = await openPage(t, `${site.url}${PAGE}`, { timezoneId: 'Asia/Tokyo', locale: 'en-GB' }, []);
  const status = page.locator('#status');
  await status.getByText('Live').waitFor();
  const hour = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', timeZone: 'Asia/Tokyo' }).format();
  site.stop();
  await status.getByText('No response from the server since').waitFor();
  t.true((await status.textContent())?.includes(`since ${hour}:`), `${await status.textContent()}, hour ${hour}`);
  t.true(await page.evaluate(() => document.body.classList.contains('lost')));
  await assertAccessible(t, page);
  site.restart();
  await status.getByText('Live').waitFor();
  t.false(await page.evaluate(() => document.body.classList.contains('lost')));
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
