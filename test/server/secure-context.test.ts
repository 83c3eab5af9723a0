import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { CacheServer } from '../../src/server/cache-server.js';
import { createServer } from '../../src/server/server.js';
import { certificate, generateCertificate } from '../helpers/certificate.js';

/** Self-signed certificate with the common name `pfx`, valid until 2126, and its key. */
const PFX = Buffer.from(
  `
MIIEHAIBAzCCA9IGCSqGSIb3DQEHAaCCA8MEggO/MIIDuzCCAnIGCSqGSIb3DQEHBqCCAmMwggJfAgEAMIICWAYJKoZIhvcNAQcBMFcGCSqGSI
b3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg5Rv2P08gUKQICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEITDgqrNPl0QgqMWC7wPVyA
ggHwNd68UZyQSxARV0YyY2uuGcRF1c0XCCJ2K8CCQbuqd2ogMaHms1JVpVUujPFxxF1KreM66NGGM5Rw7iA0K3RLXpC6f3OMlDOfZhUsXE+dsv
hZn+ppzst6tn4+5mhcxHFlqY1OkB+qJ/xBMx85NvXnPVKvbuGNUh3y1V3g912rEuN2MVPo/WYw2equEvfLU3eD2lrg3bowqb37erVeAsw2cFPi
ECIot+Po+lANuYLjJhc/E0StsqAilpCEyvWNKcfp9WKcP2W9lVNyEHH/BHn6WAfnBftk8/FKJYfSKNoHlhYDqFHnA2h26oy3V/MCE3qMElpO7Y
MC7fJSvOvSgy8zndoxYRRbmVD11bGJiapfKaNudtZG+9s4Ml0GISbtLhrwSomd8PGpPnNF21VLcBGl1zHWZFfeV/5C+3FWOjDOyzMGRcgXFQ22
1hMVDyWhJMJFoNQkhc3dul29RO3prysYl/kox+JFHWIK8CVDlVaRNhTtdxMoa1DgESriKhyxuTLPPR0dLzhOmG6abjdNUZVM0fllFPS/TPfqhU
cIrxCvvOkt5Udp3y/fh4aoucqLwdZqACTlC87uY6lGaIZgBb8xncCErzV3426O4xZmt1sTmJywS9aRipSq6VvWFOoWdQlnBkbwPHXjEGVu7MT9
GC3O6zCCAUEGCSqGSIb3DQEHAaCCATIEggEuMIIBKjCCASYGCyqGSIb3DQEMCgECoIHvMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDD
AcBAiIWJ170lbauQICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEECq52xXFBQC0cxnc9VzG3vQEgZD1ijgGGMw1Mhj1axKRLmdg153e
gQuRqKtQ6aU1wmHqLEKkdWUs+Rj7cBacx8cE9z0IuWxS1i6fzea64nhPaGUEszMtNlSBb0t6amE3Od4mcswRqlbM7VN65otGwfinqRDW+h8ocZ
Fmch/PwADD0OUGBeXSSzQanOWKnX7tSknPXy5HNq+Nadj0aybp4/Ma0vExJTAjBgkqhkiG9w0BCRUxFgQUKaZAsXhGS9Z24cUkfYOPESvP0m0w
QTAxMA0GCWCGSAFlAwQCAQUABCAR6nTGJRaGY84ive0lSxjAXYWtR7offeoAf/gypqUSPAQIJ8GkkyJw31sCAggA
`,
  'base64',
);
const PASSPHRASE = 'secret';

async function listen(t: ExecutionContext, options: tls.TlsOptions): Promise<CacheServer> {
  const server = createServer((_request, response) => void response.end(), { tls: options });
  await server.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => server.close({ timeoutMs: 0 }));
  return server;
}

/** Resolves to the fingerprint of the certificate that a new connection receives. */
async function fingerprintOf(server: CacheServer): Promise<string> {
  // A server that listens on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint;
}

test('setSecureContext replaces cert and key by pfx, and pfx by cert and key', async (t) => {
  const pem = await listen(t, await certificate());
  const pfx = await listen(t, { pfx: PFX, passphrase: PASSPHRASE });
  const [ofPem, ofPfx] = [await fingerprintOf(pem), await fingerprintOf(pfx)];
  t.not(ofPem, ofPfx);
  pem.setSecureContext({ pfx: PFX, passphrase: PASSPHRASE });
  pfx.setSecureContext(await certificate());
  t.deepEqual([await fingerprintOf(pem), await fingerprintOf(pfx)], [ofPfx, ofPem]);
  pem.setSecureContext(await generateCertificate());
  t.false([ofPem, ofPfx].includes(await fingerprintOf(pem)));
});

test('setSecureContext refuses half of a certificate and a wrong passphrase, and keeps the certificate', async (t) => {
  const server = await listen(t, { pfx: PFX, passphrase: PASSPHRASE });
  const before = await fingerprintOf(server);
  const { cert, key } = await certificate();
  for (const options of [{ cert }, { key }]) {
    t.throws(() => server.setSecureContext(options), { code: 'ERR_HOTBLOB_INVALID_OPTION' });
  }
  // The old passphrase is not used for a new file.
  for (const passphrase of [undefined, 'wrong']) {
    t.throws(() => server.setSecureContext({ pfx: PFX, passphrase }), { message: /mac verify failure/ });
  }
  server.setSecureContext({ minVersion: 'TLSv1.3' });
  t.is(await fingerprintOf(server), before);
});
