import type { PeerCertificate } from 'node:tls';
import type { ClientCertificate } from '../contract/exchange.js';

/** Part of a TLS socket that is used here; undefined without TLS. The socket of an HTTP/2 session is a proxy with the same methods. */
interface CertificateSocket {
  readonly authorized?: boolean;
  getPeerCertificate?(detailed: false): PeerCertificate | object;
}

/** Certificates by connection: Node decodes the certificate at each call, which takes dozens of microseconds. */
const known = new WeakMap<object, ClientCertificate | 'none'>();

/**
 * Returns the certificate of the client if TLS has verified it. Returns `undefined` on a connection without TLS, if the server has
 * requested no certificate, if the client has none, and if it is not valid.
 *
 * @param connection socket or HTTP/2 session
 */
export function clientCertificateOf(connection: object, socket: object): ClientCertificate | undefined {
  let certificate = known.get(connection);
  if (certificate === undefined) {
    certificate = read(socket) ?? 'none'; // a socket without TLS has none of the properties
    known.set(connection, certificate);
  }
  return certificate === 'none' ? undefined : certificate;
}

function read(socket: CertificateSocket): ClientCertificate | undefined {
  if (socket.authorized !== true) return undefined;
  const peer = socket.getPeerCertificate?.(false);
  // A connection without a certificate can count as authorized, for example after a resumed handshake of TLS 1.3.
  if (peer === undefined || !('fingerprint256' in peer) || !peer.fingerprint256) return undefined;
  const subject: Record<string, string | readonly string[]> = {};
  // A field that occurs several times is an array.
  for (const [name, value] of Object.entries(peer.subject ?? {})) if (value !== undefined) subject[name] = value;
  return Object.freeze({
    subject,
    subjectAltNames: parseSubjectAltNames(peer.subjectaltname ?? ''),
    fingerprint256: peer.fingerprint256,
  });
}

/**
 * Divides a text such as `DNS:a, URI:b`. Node writes a name with a special character as a JSON string, so that a name with a comma
 * cannot imitate several names (CVE-2021-44532).
 */
export function parseSubjectAltNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const [, kind = '', name = ''] of text.matchAll(/(?:^|, )([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?=, |$)/g)) {
    names.push(`${kind}:${name.startsWith('"') ? JSON.parse(name) : name}`);
  }
  return names;
}
