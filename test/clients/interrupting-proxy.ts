import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';

/** Proxy that interrupts uploads. */
export interface InterruptingProxy {
  readonly port: number;
  /** Returns the number of interrupted uploads. */
  readonly interruptions: () => number;
}

/** Starts a proxy that forwards requests, and destroys uploads after half of their first chunk. */
export async function interruptUploads(t: ExecutionContext, port: number): Promise<InterruptingProxy> {
  let interruptions = 0;
  const proxy = http.createServer((request, response) => {
    const { method = '', url, headers } = request;
    const onward = http.request({ port, host: '127.0.0.1', method, path: url, headers, agent: false });
    onward.on('error', () => response.destroy());
    request.on('error', () => onward.destroy());
    if (method === 'PUT') {
      request.once('data', (chunk: Buffer) => {
        onward.write(chunk.subarray(0, chunk.byteLength / 2), () => {
          interruptions++;
          onward.destroy();
          request.socket.destroy();
        });
      });
      return;
    }
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response).on('error', () => answer.destroy());
    });
    request.pipe(onward);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  t.teardown(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return { port: (proxy.address() as AddressInfo).port, interruptions: () => interruptions };
}
