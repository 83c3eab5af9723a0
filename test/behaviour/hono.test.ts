import { hostBehaviour } from './behaviour.js';

hostBehaviour('hono-http');
hostBehaviour('hono-h2');
