import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { startUpstream, WIRES } from './fixture.js';

const PROGRAM = fileURLToPath(new URL('./idle-process.ts', import.meta.url));

for (const wire of WIRES) {
  test(`${wire}: an idle connection does not keep the process alive`, async (t) => {
    const upstream = await startUpstream(t, wire, (_request, response) => {
      response.setHeader('content-length', 1);
      // Headers and body arrive separately, so that the client waits for the body.
      setImmediate(() => response.end('x'));
    });
    const child = spawn(process.execPath, ['--import=tsx', PROGRAM, upstream.url, JSON.stringify(upstream.options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const [output, [code]] = await Promise.all([buffer(child.stdout), once(child, 'close')]);
    t.is(output.toString(), 'x');
    t.is(code, 0);
  });
}
