// Express: a cache at /artifacts/<name>. Requests need a bearer token.
import express, { type NextFunction, type Request, type Response } from 'express';
import morgan from 'morgan';
import { announce, isAllowed, isName, port, root, save } from './artifacts.js';

const app = express();

app.use(morgan('tiny'));

app.use((request, response, next) => {
  if (isAllowed(request.get('authorization'))) next();
  else response.status(401).json({ message: 'Authentication required.' });
});

app.param('name', (_request, response, next, name) => {
  if (isName(name)) next();
  else response.status(400).json({ message: 'Invalid name.' });
});

app.get('/artifacts/:name', (request, response) => {
  response.sendFile(request.params.name, { root });
});

app.put('/artifacts/:name', async (request, response) => {
  await save(request.params.name, request);
  response.sendStatus(200);
});

app.use((error: { status?: number }, _request: Request, response: Response, next: NextFunction) => {
  if (response.headersSent) next(error);
  else response.status(error.status ?? 500).json({ message: 'Internal server error.' });
});

const server = app.listen(port, '127.0.0.1', () => announce(server.address()));
