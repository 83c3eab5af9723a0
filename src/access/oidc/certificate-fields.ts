import type { ClientCertificate } from '../../contract/exchange.js';

/** Names of the fields of a certificate that a rule can use. */
export const CERTIFICATE_FIELD = /^(?:subject\.[\w.]+|san|fingerprint256)$/;

/** Form of a fingerprint: upper-case hex with colons. */
export const FINGERPRINT = /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/;

/** Returns the value of a field, or `undefined`. Of `san`, it is an array of all names with their kind. */
export function fieldOf({ subject, subjectAltNames, fingerprint256 }: ClientCertificate, name: string): unknown {
  if (name === 'san') return subjectAltNames;
  if (name === 'fingerprint256') return fingerprint256;
  const field = name.slice('subject.'.length);
  return Object.hasOwn(subject, field) ? subject[field] : undefined;
}

/** Returns what identifies the owner of a certificate to operators. */
export function subjectOf(certificate: ClientCertificate): string {
  const [name] = [certificate.subject['CN'] ?? []].flat();
  return name || certificate.subjectAltNames[0] || certificate.fingerprint256;
}
