import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import test, { type ExecutionContext } from 'ava';
import type { AccessPolicy } from '../../src/access/policy.js';
import { createHandler, type Handler } from '../../src/handler/handler.js';
import { RESPONSE_CHANNEL, type ResponseReport } from '../../src/handler/response-record.js';
import { gradle } from '../../src/protocols/gradle.js';
import { plain } from '../../src/protocols/plain.js';
import { memoryStore } from '../../src/stores/memory.js';
import { until } from '../helpers/poll.js';
import { openPort } from '../server/fixture.js';

interface Site {
  readonly url: string;
  readonly handler: Handler;
  /** Resolves when all responses are counted. */
  settled(): Promise<void>;
}

async function openSite(t: ExecutionContext, access?: AccessPolicy): Promise<Site> {
  const handler = createHandler({ store: memoryStore(), protocols: [gradle(), plain()], access });
  t.teardown(() => handler.close());
  const { port } = await openPort(t, handler);
  const settled = () => until('all responses have ended', () => handler.stats().active === 0);
  return { url: `http://127.0.0.1:${port}`, handler, settled };
}

const KEY = '0'.repeat(32);

test('responses, errors and bytes are counted by protocol and namespace', async (t) => {
  const { url, handler, settled } = await openSite(t);
  const reports: ResponseReport[] = [];
  const onReport = (message: unknown): void => void reports.push(message as ResponseReport);
  subscribe(RESPONSE_CHANNEL, onReport);
  t.teardown(() => unsubscribe(RESPONSE_CHANNEL, onReport));
  const body = 'x'.repeat(1000);
  t.is((await fetch(`${url}/gradle/team/${KEY}`, { method: 'PUT', body })).status, 200);
  t.is((await (await fetch(`${url}/gradle/team/${KEY}`)).text()).length, 1000);
  t.is((await (await fetch(`${url}/gradle/team/${KEY}`)).text()).length, 1000);
  t.is((await fetch(`${url}/gradle/team/${KEY.replace('0', '1')}`)).status, 404);
  const wrong = { 'content-digest': `sha-256=:${Buffer.alloc(32).toString('base64')}:` };
  t.is((await fetch(`${url}/key`, { method: 'PUT', body, headers: wrong })).status, 400);
  await settled();
  const { traffic, receivedBytes } = handler.stats();
  t.is(receivedBytes, 2000);
  t.deepEqual(traffic, [
    { protocol: 'gradle', namespace: 'team', responses: 4, errors: 0, sentBytes: 2000, receivedBytes: 1000 },
    { protocol: 'plain', responses: 1, errors: 1, sentBytes: 0, receivedBytes: 1000 },
  ]);
  const ours = reports.filter(({ sender }) => sender === handler);
  t.deepEqual(
    ours.map(({ namespace, receivedBytes: received }) => [namespace, received]),
    [
      ['team', 1000],
      ['team', 0],
      ['team', 0],
      ['team', 0],
      [undefined, 1000],
    ],
  );
});

test('the number of namespaces is limited, and namespaces without an artifact are counted together', async (t) => {
  const access: AccessPolicy = ({ headers }) => (headers['x-write'] === undefined ? 'read' : 'write');
  const { url, handler, settled } = await openSite(t, access);
  for (let index = 0; index < 150; index++) {
    const target = `${url}/gradle/guess-${index}/${KEY}`;
    t.is((await fetch(target)).status, 404);
    t.is((await fetch(target, { method: 'PUT', body: 'x' })).status, 403);
  }
  await settled();
  t.deepEqual(handler.stats().traffic, [
    { protocol: 'gradle', namespace: '*', responses: 300, errors: 150, sentBytes: 0, receivedBytes: 0 },
  ]);
  const headers = { 'x-write': '1' };
  for (let index = 0; index < 102; index++) {
    await fetch(`${url}/gradle/team-${index}/${KEY}`, { method: 'PUT', body: 'xy', headers });
  }
  await settled();
  const { traffic } = handler.stats();
  t.is(traffic.length, 101);
  t.like(traffic[0], { namespace: '*', responses: 302, receivedBytes: 4 });
  t.like(traffic[1], { namespace: 'team-0', responses: 1, receivedBytes: 2 });
});
