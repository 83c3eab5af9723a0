import { hostBehaviour } from './behaviour.js';

hostBehaviour('koa2-http');
