import { hostBehaviour } from './behaviour.js';

hostBehaviour('fastify-http');
hostBehaviour('fastify-h2');
