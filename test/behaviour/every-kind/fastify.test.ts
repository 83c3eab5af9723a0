import { behaviour } from '../behaviour.js';

behaviour('fastify-http');
behaviour('fastify-https');
behaviour('fastify-h2c');
behaviour('fastify-h2');
