// Express: artifacts at /cache/<key>. If TOKEN is set, requests need it as a bearer token.
import express from 'express';
import { createHandler, directoryStore } from 'hotblob';
import { expressMiddleware } from 'hotblob/express';

const store = await directoryStore(process.env.DIR ?? './artifacts');
const { TOKEN } = process.env;

const app = express();
app.use('/cache', (request, response, next) => {
  if (TOKEN === undefined || request.get('authorization') === `Bearer ${TOKEN}`) next();
  else response.status(401).json({ message: 'Authentication required.' });
});
app.use('/cache', expressMiddleware(createHandler({ store })));

const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`listening on http://127.0.0.1:${address?.port}`);
});
