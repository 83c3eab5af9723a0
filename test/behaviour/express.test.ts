import { hostBehaviour } from './behaviour.js';

hostBehaviour('express-http');
