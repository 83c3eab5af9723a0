import { behaviour } from '../behaviour.js';

behaviour('hono-http');
behaviour('hono-https');
behaviour('hono-h2c');
behaviour('hono-h2');
