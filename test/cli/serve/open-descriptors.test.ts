import fs from 'node:fs';
import { open } from 'node:fs/promises';
import test from 'ava';
import * as client from 'prom-client';
import { countDescriptorsAsync } from '../../../src/cli/serve/open-descriptors.js';
import { parseMetrics } from '../../metrics/text.js';

const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('the open descriptors are counted, and not listed on the event loop', async (t) => {
  const register = new client.Registry();
  client.collectDefaultMetrics({ register });
  countDescriptorsAsync(client, register);
  const count = async () => parseMetrics(await register.metrics()).get('process_open_fds') ?? 0;
  const { readdirSync } = fs;
  const listed: unknown[] = [];
  fs.readdirSync = ((path: string) => void listed.push(path)) as never;
  t.teardown(() => {
    fs.readdirSync = readdirSync;
  });
  const before = await count();
  const files = await Promise.all(Array.from({ length: 100 }, () => open('package.json')));
  const during = await count();
  await Promise.all(files.map((file) => file.close()));
  t.true(before > 0);
  t.true(during >= before + 90 && during <= before + 110, `${before}, then ${during}`);
  t.false(listed.includes('/proc/self/fd'));
});
