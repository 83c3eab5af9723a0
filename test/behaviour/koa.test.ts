import { hostBehaviour } from './behaviour.js';

hostBehaviour('koa-http');
hostBehaviour('koa-h2');
