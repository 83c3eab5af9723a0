import { createPrivateKey } from 'node:crypto';
import test from 'ava';
import { CommandError } from '../../../src/cli/command.js';
import { checkCertificate, expiryWarning } from '../../../src/cli/serve/certificate.js';
import { certificate, generateCertificate } from '../../helpers/certificate.js';

const PATHS = { cert: 'cert.pem', key: 'key.pem' };

test('a certificate and its key are accepted, in files of their own or in one file', async (t) => {
  const { cert, key } = await certificate();
  t.deepEqual(checkCertificate(PATHS, { cert, key }).cert, cert);
  const both = key + cert;
  t.is(checkCertificate(PATHS, { cert: both, key: both }).key, both);
});

test('each mistake names the option, the file and the remedy', async (t) => {
  const { cert, key } = await certificate();
  const other = await generateCertificate();
  const encrypted = createPrivateKey(key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  });
  const cases: [typeof PATHS, RegExp][] = [
    [{ cert: '', key }, /^--tls-cert: cert\.pem: expected a certificate in PEM format, found none \(.*openssl x509/],
    [{ cert: key, key: cert }, /^--tls-cert: cert\.pem: .* found a private key \(are --tls-cert and --tls-key swapped/],
    [{ cert: cert.replace(/[A-Z]/g, 'A'), key }, /^--tls-cert: cert\.pem: expected a certificate/],
    [{ cert, key: '' }, /^--tls-key: key\.pem: expected a private key in PEM format without a passphrase, found none/],
    [{ cert, key: cert }, /^--tls-key: key\.pem: .* found a certificate \(are --tls-cert and --tls-key swapped/],
    [{ cert, key: String(encrypted) }, /^--tls-key: key\.pem: .* found an encrypted key \(.*openssl pkey/],
    [{ cert, key: other.key }, /^--tls-key: key\.pem does not belong to the certificate in cert\.pem; use the key/],
    [{ cert: other.cert + cert, key }, /^--tls-cert: cert\.pem: the certificate of key\.pem must be the first/],
  ];
  for (const [texts, message] of cases) {
    t.throws(() => checkCertificate(PATHS, texts), { instanceOf: CommandError, message });
  }
});

test('a certificate that expires within 30 days is reported', (t) => {
  const now = Date.UTC(2030, 0, 1);
  const warn = (days: number) => {
    const validTo = new Date(now + days * 24 * 60 * 60 * 1000);
    return expiryWarning(PATHS, { cert: '', key: '', validTo }, now);
  };
  t.is(warn(31), undefined);
  t.is(warn(29), '--tls-cert: cert.pem: the certificate expires on 2030-01-30; renew it');
  t.is(warn(-1), '--tls-cert: cert.pem: the certificate expired on 2029-12-31; renew it');
});
