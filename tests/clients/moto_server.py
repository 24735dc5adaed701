"""A stand-in for AWS's services: moto's server on a free port. Prints its address, and ends when its standard input does.

Moto's CloudFormation knows neither AgentCore nor half of API Gateway. It is taught here what a stack of ours holds besides: where moto has the service, the
resource is made in it; where it has not (AgentCore, CloudWatch's metric math), CloudFormation only remembers it.
"""

import sys

from moto.apigateway.models import Method, apigateway_backends
from moto.core.common_models import CloudFormationModel
from moto.logs.models import logs_backends
from moto.server import ThreadedMotoServer

class Made:
    """A resource that was made: what `Ref` gives for it, and its attributes."""

    def __init__(self, physical_id, attributes=None, remove=None):
        self.physical_id, self.attributes, self.remove = physical_id, attributes or {}, remove


def teach(kind, make):
    """Teaches CloudFormation the type `kind`: `make(name, properties, account, region)` makes one, on an update once more."""

    def create(cls, resource_name, cloudformation_json, account_id, region_name, **_kwargs):
        resource = cls()
        resource.made = make(resource_name, cloudformation_json.get("Properties", {}), account_id, region_name)
        return resource

    def update(cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name):
        original_resource.delete(account_id, region_name)
        return create(cls, new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, _account_id, _region_name):
        if self.made.remove:
            self.made.remove()

    members = {
        "cloudformation_name_type": staticmethod(lambda: ""),
        "cloudformation_type": staticmethod(lambda: kind),
        "has_cfn_attr": classmethod(lambda cls, attribute: True),
        "create_from_cloudformation_json": classmethod(create),
        "update_from_cloudformation_json": classmethod(update),
        "delete_from_cloudformation_json": classmethod(lambda cls, *_: None),
        "delete": delete,
        "is_created": lambda self: True,
        "physical_resource_id": property(lambda self: self.made.physical_id),
        "get_cfn_attribute": lambda self, name: self.made.attributes[name],
    }
    # Kept in moto's own list of subclasses.
    TAUGHT.append(type(kind.replace("::", ""), (CloudFormationModel,), members))


TAUGHT = []
RUNTIMES = {}


def runtime(_name, properties, account, region):
    name = properties["AgentRuntimeName"]
    RUNTIMES[name] = version = RUNTIMES.get(name, 0) + 1
    runtime_id = f"{name}-0123456789"
    arn = f"arn:aws:bedrock-agentcore:{region}:{account}:runtime/{runtime_id}"
    return Made(runtime_id, {"AgentRuntimeArn": arn, "AgentRuntimeId": runtime_id, "AgentRuntimeVersion": str(version)})


def endpoint(_name, properties, account, region):
    arn = f"arn:aws:bedrock-agentcore:{region}:{account}:runtime/{properties['AgentRuntimeId']}/runtime-endpoint/{properties['Name']}"
    return Made(arn, {"AgentRuntimeEndpointArn": arn})


def account(_name, properties, account, region):
    role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": properties["CloudWatchRoleArn"]}
    apigateway_backends[account][region].update_account([role])
    return Made("account")


def api_key(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    key = backend.create_api_key({"name": properties["Name"], "description": properties["Description"], "enabled": properties["Enabled"]})
    return Made(key.id, remove=lambda: backend.delete_api_key(key.id))


def usage_plan(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    payload = {"name": properties["UsagePlanName"], "apiStages": [{"apiId": s["ApiId"], "stage": s["Stage"]} for s in properties["ApiStages"]]}
    if "Throttle" in properties:
        payload["throttle"] = {"rateLimit": properties["Throttle"]["RateLimit"], "burstLimit": properties["Throttle"]["BurstLimit"]}
    if "Quota" in properties:
        payload["quota"] = {"limit": properties["Quota"]["Limit"], "period": properties["Quota"]["Period"]}
    plan = backend.create_usage_plan(payload)
    return Made(plan.id, remove=lambda: backend.delete_usage_plan(plan.id))


def usage_plan_key(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    backend.create_usage_plan_key(properties["UsagePlanId"], {"keyId": properties["KeyId"], "keyType": properties["KeyType"]})
    return Made(f"{properties['KeyId']}:{properties['UsagePlanId']}")


def stage(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    api, name = properties["RestApiId"], properties["StageName"]
    backend.create_stage(api, name, properties["DeploymentId"], description=properties["Description"])
    log = properties["AccessLogSetting"]
    patches = [{"op": "replace", "path": f"/accessLogSettings/{field}", "value": log[field[0].upper() + field[1:]]} for field in ("destinationArn", "format")]
    backend.update_stage(api, name, patches)
    return Made(name, remove=lambda: api in backend.apis and backend.delete_stage(api, name))


def gateway_response(_name, properties, account, region):
    backend = apigateway_backends[account][region]
    backend.put_gateway_response(properties["RestApiId"], properties["ResponseType"], None, properties["ResponseParameters"], None)
    return Made(properties["ResponseType"])


def metric_filter(name, properties, account, region):
    wanted = [
        {"metricName": t["MetricName"], "metricNamespace": t["MetricNamespace"], "metricValue": t["MetricValue"]} for t in properties["MetricTransformations"]
    ]
    logs_backends[account][region].put_metric_filter(name, properties["FilterPattern"], properties["LogGroupName"], wanted)
    return Made(name)


teach("AWS::BedrockAgentCore::Runtime", runtime)
teach("AWS::BedrockAgentCore::RuntimeEndpoint", endpoint)
teach("AWS::ApiGateway::Account", account)
teach("AWS::ApiGateway::ApiKey", api_key)
teach("AWS::ApiGateway::UsagePlan", usage_plan)
teach("AWS::ApiGateway::UsagePlanKey", usage_plan_key)
teach("AWS::ApiGateway::Stage", stage)
teach("AWS::ApiGateway::GatewayResponse", gateway_response)
teach("AWS::Logs::MetricFilter", metric_filter)
teach("AWS::CloudWatch::Alarm", lambda _name, properties, _account, _region: Made(properties["AlarmName"]))

# Moto wants of every integration what a mock has no use for.
create_method = Method.create_from_cloudformation_json.__func__


def create_any_method(cls, resource_name, cloudformation_json, *rest, **more):
    cloudformation_json["Properties"]["Integration"].setdefault("IntegrationHttpMethod", "POST")
    cloudformation_json["Properties"]["Integration"].setdefault("Uri", "")
    return create_method(cls, resource_name, cloudformation_json, *rest, **more)


Method.create_from_cloudformation_json = classmethod(create_any_method)

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
sys.stdin.read()
server.stop()
