import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { PROTOCOL_NAMES } from '../../src/cli/serve/protocol-names.js';
import { serve } from '../../src/cli/serve/serve.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { memoryStore } from '../../src/stores/memory.js';
import { open } from '../behaviour/site.js';
import { CHROMIUM, testWith } from '../helpers/peers.js';
import { entriesBelow, put, temporaryDirectory } from '../stores/fixture.js';

const TOKEN = 'writer-0123456789abcdef';
const SCOPE = 'tenant_id=t&namespace_id=n';
const TUIST = `/api/cache/cas/stored?${SCOPE}`;
/** A page that stores an artifact from its own origin, and says that it runs. */
const HOSTILE = `<!doctype html><title>inert</title><p>stored page</p><script>
  document.title = 'running';
  fetch('/written-by-the-page', { method: 'PUT', body: 'x' });
</script>`;

const browserTest = testWith(test.serial, 'chromium');
let browser: Browser | undefined;
test.after.always(() => browser?.close());

interface Attack {
  /** URL of `hotblob serve`. */
  readonly cache: string;
  readonly context: BrowserContext;
  /** Page of another site. */
  readonly page: Page;
  /** Responses of the cache. */
  readonly reports: ResponseReport[];
  /** Resolves to the names of all stored artifacts. */
  stored(): Promise<string[]>;
}

/** Starts `hotblob serve`, with tokens or without, and opens a page of another site in a browser. */
async function attack(t: ExecutionContext, { hasTokens }: { readonly hasTokens: boolean }): Promise<Attack> {
  const dir = await temporaryDirectory(t);
  const file = join(await temporaryDirectory(t), 'tokens');
  await writeFile(file, `write ${TOKEN}\n`, { mode: 0o600 });
  const server = await serve({
    version: '1.2.3',
    kind: 'directory',
    dir,
    immutable: undefined,
    verifyReads: undefined,
    maxBytes: undefined,
    upstream: undefined,
    port: 0,
    host: '127.0.0.1',
    writable: true,
    protocols: PROTOCOL_NAMES,
    access: hasTokens ? { tokens: file, oidc: undefined, anonymous: undefined } : undefined,
    tls: undefined,
  });
  t.teardown(() => server.close());
  const site = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>evil</title><body>');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.teardown(() => site.close().closeAllConnections());
  const reports: ResponseReport[] = [];
  const collect = (report: unknown): void => void reports.push(report as ResponseReport);
  subscribe(RESPONSE_CHANNEL, collect);
  t.teardown(() => unsubscribe(RESPONSE_CHANNEL, collect));
  const context = await newContext(t);
  const page = await context.newPage();
  await page.goto(`http://evil.example:${(site.address() as AddressInfo).port}/`);
  return {
    cache: `http://127.0.0.1:${server.port}`,
    context,
    page,
    reports,
    stored: async () => (await entriesBelow(dir)).filter((name) => !name.startsWith('.')),
  };
}

/** Opens a profile of a browser for which every host name is that of this machine, and which knows the password. */
async function newContext(t: ExecutionContext): Promise<BrowserContext> {
  browser ??= await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--host-resolver-rules=MAP *.example 127.0.0.1',
      // Not every browser asks the user before a page of the Internet may reach this machine.
      '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests',
    ],
  });
  const context = await browser.newContext({ httpCredentials: { username: 'user', password: TOKEN } });
  t.teardown(() => context.close());
  return context;
}

browserTest('a page of another site can neither write nor read, by fetch or by form', async (t) => {
  const { cache, page, reports, stored } = await attack(t, { hasTokens: false });
  await fetch(`${cache}/secret`, { method: 'PUT', body: 'a secret', headers: { 'content-type': 'text/javascript' } });
  t.is(reports.length, 1);
  // As text: the transpiler adds helpers to functions, which the page does not have.
  const outcomes = await page.evaluate<string[]>(`(async () => {
    const outcomeOf = (path, init) => fetch('${cache}' + path, init).then(({ type }) => type, () => 'failed');
    const load = (name) => new Promise((resolve) => {
      const element = document.createElement(name);
      element.onload = () => resolve('loaded');
      element.onerror = () => resolve('failed');
      element.src = '${cache}/secret';
      document.body.append(element);
    });
    return [
      // Preflighted: turborepo has an OPTIONS route of its own.
      await outcomeOf('/v8/artifacts/stored', { method: 'PUT', body: 'x' }),
      await outcomeOf('/stored', { method: 'PUT', body: 'x' }),
      await outcomeOf('/secret', { method: 'DELETE' }),
      // Simple requests, which have no preflight.
      await outcomeOf('${TUIST}', { method: 'POST', body: 'x' }),
      await outcomeOf('${TUIST}', { method: 'POST', body: 'x', mode: 'no-cors' }),
      await outcomeOf('/secret', {}),
      await outcomeOf('/secret', { mode: 'no-cors' }),
      await load('script'),
      await load('img'),
    ];
  })()`);
  t.deepEqual(outcomes, Array(9).fill('failed'));
  const response = await submitForm(page, `${cache}${TUIST}`);
  t.is(response.status, 403);
  t.regex(response.text, /another origin/);
  t.deepEqual(await stored(), ['secret']);
  t.deepEqual([...new Set(reports.filter(({ method }) => method === 'POST').map(({ status }) => status))], [403]);
});

browserTest('a form of another site is refused although the browser sends the password that it has', async (t) => {
  const { cache, page, context, reports, stored } = await attack(t, { hasTokens: true });
  const dashboard = await context.newPage();
  t.is((await dashboard.goto(`${cache}/_hotblob/`))?.status(), 200);
  t.is((await dashboard.goto(`${cache}/missing`))?.status(), 404);
  t.is((await submitForm(page, `${cache}${TUIST}`)).status, 403);
  const [report] = reports.filter(({ method }) => method === 'POST');
  t.regex(String(report?.exchange.headers.authorization), /^Basic /, 'the password was sent');
  t.deepEqual(await stored(), []);
});

browserTest('a stored page is downloaded, and does not run if it is shown', async (t) => {
  const { cache, page, context, stored } = await attack(t, { hasTokens: false });
  const headers = { 'content-type': 'text/html' };
  t.is((await fetch(`${cache}/page.html`, { method: 'PUT', body: HOSTILE, headers })).status, 200);
  const opened = await context.newPage();
  const download = opened.waitForEvent('download');
  await t.throwsAsync(opened.goto(`${cache}/page.html`), { message: /Download is starting|ERR_ABORTED/ });
  t.is((await download).url(), `${cache}/page.html`);
  const framed = page.waitForEvent('download');
  await page.evaluate(`document.body.innerHTML = '<iframe src="${cache}/page.html"></iframe>'`);
  await framed;
  t.deepEqual(await stored(), ['page.html']);

  // Even if the host shows it, it is in a sandbox.
  const store = memoryStore();
  await put(store, 'page', HOSTILE);
  const keys: string[] = [];
  const { server } = await open(
    t,
    'connect-http',
    {
      store: {
        get: (key) => {
          keys.push(key);
          return store.get(key);
        },
        put: (key, body, options) => {
          keys.push(key);
          return store.put(key, body, options);
        },
      },
    },
    {
      before: (_request, response, next) => {
        response.setHeader('content-type', 'text/html');
        response.setHeader('content-disposition', 'inline');
        next();
      },
    },
  );
  await opened.goto(`http://127.0.0.1:${server.port}/page`);
  t.is(await opened.title(), 'inert');
  t.deepEqual(keys, ['page']);
});

browserTest('a site whose name resolves to this machine can neither read nor write (DNS rebinding)', async (t) => {
  const { cache, context, stored } = await attack(t, { hasTokens: false });
  await fetch(`${cache}/secret`, { method: 'PUT', body: 'a secret' });
  const rebound = `http://rebound.example:${new URL(cache).port}`;
  const page = await context.newPage();
  // The page comes from the server of the attacker, its requests go to this machine.
  await page.route(`${rebound}/start`, (route) =>
    route.fulfill({ contentType: 'text/html', body: '<title>evil</title>' }),
  );
  await page.goto(`${rebound}/start`);
  const statuses = await page.evaluate<number[]>(`(async () => {
    const statusOf = async (path, init) => (await fetch(path, init)).status;
    return [
      await statusOf('/secret'),
      await statusOf('/stored', { method: 'PUT', body: 'x' }),
      await statusOf('/_hotblob/stats'),
      await statusOf('/_hotblob/residency.json'),
      await statusOf('/_hotblob/'),
      await statusOf('/_hotblob/ready'),
    ];
  })()`);
  t.deepEqual(statuses, [421, 421, 421, 421, 421, 421]);
  t.deepEqual(await stored(), ['secret']);
  const named = cache.replace('127.0.0.1', 'localhost');
  t.is((await page.goto(`${named}/_hotblob/`))?.status(), 200);
});

/** Submits a form whose body is text, without a preflight. Resolves to the response that the browser shows. */
async function submitForm(page: Page, action: string): Promise<{ status: number; text: string }> {
  const answered = page.waitForResponse(action);
  await page.evaluate(`
    document.body.innerHTML = '<form method="post" enctype="text/plain" action="${action}"><input name="a" value="b"></form>';
    document.querySelector('form').submit();
  `);
  const response = await answered;
  return { status: response.status(), text: await response.text() };
}
