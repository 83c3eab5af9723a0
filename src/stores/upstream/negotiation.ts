import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { Deadline } from './deadline.js';
import { upstreamError, upstreamTimeout } from './errors.js';
import { caOptions, hostOf } from './http1-transport.js';
import type { UpstreamSettings } from './options.js';

/**
 * Opens a TLS connection and negotiates the protocol (ALPN). Resolves to `undefined` if the upstream chooses HTTP/1.1.
 * Each call negotiates anew and caches nothing.
 *
 * @throws HotblobError `ERR_HOTBLOB_UPSTREAM` if the connection fails or its certificate is not trusted,
 *   `ERR_HOTBLOB_UPSTREAM_TIMEOUT` if there is no connection in time
 */
export async function negotiateHttp2(settings: UpstreamSettings): Promise<TLSSocket | undefined> {
  const { origin, ca, limits } = settings;
  const host = hostOf(origin);
  // http2-wrapper is imported here, because it takes a quarter of the import time of this package and only HTTPS
  // upstreams need it.
  const { auto } = await import('http2-wrapper');
  const resolveProtocol = auto.createResolveProtocol(new Map(), new Map(), (options, onConnect) => {
    const socket = connect(options, onConnect);
    const deadline = new Deadline((expectation) => socket.destroy(upstreamTimeout(origin.origin, expectation)));
    deadline.set('connectTimeoutMs', limits.connectTimeoutMs, 'connection');
    socket.once('secureConnect', () => deadline.clear()).once('close', () => deadline.clear());
    // This listener is never removed: the socket can fail before the session adds its own listener, and the error would
    // end the process.
    return socket.on('error', () => {});
  });
  const options = {
    host,
    port: origin.port || 443,
    servername: isIP(host) === 0 ? host : '',
    ALPNProtocols: ['h2', 'http/1.1'],
    resolveSocket: true,
    ...caOptions(ca),
  };
  let negotiated: Awaited<ReturnType<typeof resolveProtocol>>;
  try {
    negotiated = await resolveProtocol(options);
  } catch (cause) {
    throw upstreamError(origin.origin, cause);
  }
  if (negotiated.alpnProtocol === 'h2' && negotiated.socket !== undefined) return negotiated.socket;
  negotiated.socket?.destroy();
  return undefined;
}
