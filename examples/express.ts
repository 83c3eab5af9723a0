// Express: artifacts at /cache/<key>. If TOKEN is set, requests need it as a bearer token, or as the password of Basic.
import express from 'express';
import { createHandler, directoryStore, staticTokens } from 'hotblob';
import { expressMiddleware } from 'hotblob/express';

const store = await directoryStore(process.env.DIR ?? './artifacts');
const { TOKEN } = process.env;
const access = TOKEN === undefined ? undefined : staticTokens([{ token: TOKEN, level: 'write' }]);

const app = express();
app.use('/cache', expressMiddleware(createHandler({ store, access })));

const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
