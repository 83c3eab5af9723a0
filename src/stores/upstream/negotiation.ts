import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { Deadline } from './deadline.js';
import { upstreamFailed, upstreamLate } from './errors.js';
import { hostOf, trust } from './http1.js';
import type { UpstreamSettings } from './options.js';

/**
 * Makes a connection of TLS on which peer and client have agreed on HTTP/2 (ALPN); undefined where the peer wants
 * HTTP/1.1. Asked anew for each connection: a peer that is restarted may have learned something.
 *
 * @throws HotblobError `ERR_HOTBLOB_UPSTREAM`, also where the certificate is not trusted, or `ERR_HOTBLOB_UPSTREAM_TIMEOUT`
 */
export async function negotiateHttp2(settings: UpstreamSettings): Promise<TLSSocket | undefined> {
  const { origin, ca, limits } = settings;
  const host = hostOf(origin);
  // Here, because it is a quarter of what importing this package takes, and few ask other caches over TLS.
  const { auto } = await import('http2-wrapper');
  const resolveProtocol = auto.createResolveProtocol(new Map(), new Map(), (options, onConnect) => {
    const socket = connect(options, onConnect);
    const deadline = new Deadline((waitedFor) => socket.destroy(upstreamLate(origin.origin, waitedFor)));
    deadline.set(limits.connectTimeoutMs, 'connection');
    socket.once('secureConnect', () => deadline.clear()).once('close', () => deadline.clear());
    // It stays: without a listener an error between two owners would end the process.
    return socket.on('error', () => {});
  });
  const options = {
    host,
    port: origin.port || 443,
    servername: isIP(host) === 0 ? host : '',
    ALPNProtocols: ['h2', 'http/1.1'],
    resolveSocket: true,
    ...trust(ca),
  };
  let agreed: Awaited<ReturnType<typeof resolveProtocol>>;
  try {
    agreed = await resolveProtocol(options);
  } catch (cause) {
    throw upstreamFailed(origin.origin, cause);
  }
  if (agreed.alpnProtocol === 'h2' && agreed.socket !== undefined) return agreed.socket;
  agreed.socket?.destroy();
  return undefined;
}
