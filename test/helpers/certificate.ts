/** What a server of TLS needs, and what its client must trust. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

let made: Promise<Certificate> | undefined;

/** A self-signed certificate for 127.0.0.1, made once in this process. */
export function certificate(): Promise<Certificate> {
  made ??= make();
  return made;
}

async function make(): Promise<Certificate> {
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
