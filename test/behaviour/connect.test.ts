import { hostBehaviour } from './behaviour.js';

hostBehaviour('connect-http');
hostBehaviour('connect-h2');
