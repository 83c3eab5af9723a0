/** Certificate and private key in PEM, for a server and for a client that trusts it. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

let cached: Promise<Certificate> | undefined;

/** Returns a self-signed certificate for 127.0.0.1, created once per process. */
export function certificate(): Promise<Certificate> {
  cached ??= generateCertificate();
  return cached;
}

/** Creates a self-signed certificate for 127.0.0.1. */
export async function generateCertificate(): Promise<Certificate> {
  const { generate } = await import('selfsigned');
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  });
  return { cert, key };
}
